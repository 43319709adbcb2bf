"""What the workflow of docs/howto/test-offline.md does."""


# [START filing]
def filed(inputs):
    return {"filed": True, "length": len(inputs["text"])}


# [END filing]
