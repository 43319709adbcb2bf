"""The set-up of the test project in docs/howto/test-offline.md."""

# [START conftest]
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# Airflow reads these when it is imported, so they are set before anything imports it.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parent / "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# dag.test() has no scheduler, so deferrals may be as short as they like.
os.environ["AIRFLOW__COZE__MIN_DEFERRAL_SECONDS"] = "0"


@pytest.fixture(scope="session", autouse=True)
def airflow_database():
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)


# [END conftest]


# [START world_fixture]
@pytest.fixture
def coze_emulator_world():
    from airflow_provider_coze.emulator.worldfile import read_world

    return read_world(Path(__file__).parent / "world.yaml")


# [END world_fixture]
