"""What the sheets are made from: `roster` people, places and rules, read once for each version of
the roster; `inputs` what else bears on some days; `days` every official's day judged, kept while
nothing that bears on it changes; `entries` the records as evidence; `months` weeks and months.
"""
