def predict(rows):
    return rows +
