from wording import polite


def greet(people, words):
    return [polite(words, person) for person in people]


def read(file):
    return len(file.read())
