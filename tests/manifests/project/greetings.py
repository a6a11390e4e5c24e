def greet(text):
    return f"Hello {text}"
