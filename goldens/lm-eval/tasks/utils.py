import re


def process_docs(dataset):
    return dataset.map(lambda doc: {"question": doc["question"].upper()})


def doc_to_text(doc):
    return doc["question"] + " ="


def process_results(doc, results):
    found = re.findall(r"\d+", results[0])
    distance = abs(int(found[-1]) - int(doc["answer"].split("#### ")[1])) if found else 100
    return {"distance": distance, "near": int(distance < 3)}


def largest(values):
    return max(values)
