"""The operations of Coze's API, one function each: path, query, body, how to read the answer, and whether it may be repeated."""
