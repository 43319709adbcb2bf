"""The tests of docs/howto/test-offline.md."""

# [START happy]
from airflow_provider_coze.emulator import scenarios


def run_dag():
    from daily_report import dag

    return dag.test()


def test_the_report_is_filed(coze_emulator):
    run = run_dag()

    assert run.state == "success"
    filed = run.get_task_instance("file_report").xcom_pull(task_ids="file_report")
    assert filed["filed"] is True


# [END happy]


# [START paid_once]
def test_trouble_while_waiting_costs_nothing(coze_emulator):
    coze_emulator.script(scenarios.bad_gateway(), on="GET /v3/chat/retrieve", times=2)
    coze_emulator.script(scenarios.reset(), on="GET /v3/chat/message/list")

    assert run_dag().state == "success"

    assert [entry.kind for entry in coze_emulator.ledger] == ["chat", "workflow"]  # each paid exactly once


# [END paid_once]


# [START lost_answer]
def test_a_chat_whose_answer_is_lost_is_found_and_not_sent_again(coze_emulator):
    coze_emulator.script(scenarios.reset(after_commit=True), on="POST /v3/chat")

    assert run_dag().state == "success"

    assert [entry.kind for entry in coze_emulator.ledger] == [
        "chat",
        "workflow",
    ]  # a second chat would be a second bill


# [END lost_answer]


# [START failing_bot]
def test_the_dag_fails_when_the_bot_does(coze_emulator):
    from airflow_provider_coze.emulator.definitions import Failure

    coze_emulator.add_bot(id="7512000000000000001", failure=Failure(4028, "Your free quota has been used up."))

    run = run_dag()

    assert run.state == "failed"
    assert run.get_task_instance("file_report").state == "upstream_failed"


# [END failing_bot]


# [START python_world]
def test_the_prompt_holds_the_date(coze_emulator):
    asked = []

    def answer(question):
        asked.append(str(question))
        return "12 orders, 3 of them late."

    coze_emulator.add_bot(id="7512000000000000001", answer=answer)

    run_dag()

    assert len(asked) == 1
    assert "Summarise the orders of 20" in asked[0]


# [END python_world]


# [START free_plan]
def test_it_works_on_the_free_plan_too(coze_emulator):
    coze_emulator.world.plan = "personal_free"  # no asynchronous runs: code 6003
    coze_emulator.world.call_allowance = 15  # then code 4028; the account has 500 in its life

    assert run_dag().state == "success"

    assert [entry.kind for entry in coze_emulator.ledger] == ["chat", "workflow"]


# [END free_plan]
