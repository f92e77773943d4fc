"""The report of an evaluation: a page that needs no network, and tables of classes and mistakes."""

PAGE_NAME, PER_CLASS_NAME, CONFUSION_NAME = "report.html", "per_class.csv", "confusion.csv"
