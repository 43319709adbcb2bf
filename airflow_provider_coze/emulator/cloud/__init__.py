"""Operations of Coze's cloud: what each accepts, and the exact shape of its answers. Life cycles are in ``chats`` and ``runs``."""
