def polite(words, person):
    return words[person['language']] + person['name']
