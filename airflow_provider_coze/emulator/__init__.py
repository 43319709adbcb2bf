"""A Coze that runs on this machine, for tests and demonstrations: no account, no network, nothing to pay.

It knows the client only through ``protocol.messages``: a fake that were built from the client would agree with its bugs.
What it does not imitate is listed in ``docs/reference/emulator.md``.
Nothing is imported here, because pytest loads the plugin of this package in every run of every project that has it installed.
"""
