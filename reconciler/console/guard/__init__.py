"""What stands before all pages: how long and large a request may be, by which names, and who is let in.

    Bounds -> Headers -> Hosts -> Gate -> the application

Each is a class that takes the application behind it (ASGI), and neither collects an answer nor keeps a stream waiting.
What one finds out is left in the scope for those behind it: `updoser.body` (the whole body), `updoser.caller` (where it
comes from), `updoser.person` (who asks; not there where nobody is signed in), `updoser.still` (whether they still are).
"""
