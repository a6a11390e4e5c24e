"""What cannot be a service's function: generators, and methods without an object."""


def connect():
    yield {"db": object()}


async def disconnect():
    yield


def tokens(text):
    for word in text.split():
        yield word


class Scorer:
    def predict(self, text):
        return text
