"""The rules of attendance, each in one place: pure functions over values, with the time given.

`calendar` which days are worked · `terms` the township's rules by date · `roster` who is expected
where, and from when until when a day reaches · `visits` facts to visits · `corrections` what people
decided about facts · `verdict` one official's day · `month` totals and the minimum of days ·
`allowance` what the days earn · `leave` who approves how much · `where` where somebody was at a
moment, and how sure that is · `draw` spot checks.

Nothing here knows a database, a request or a language. Times are Unix milliseconds, days dates of
Asia/Shanghai.
"""
