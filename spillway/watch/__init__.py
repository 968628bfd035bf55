"""`spillway watch`: a live look, from beside the service, at what Redis holds. It changes nothing there.

`facts` are what is seen, `reading` gets them, `today` works out coverage, `board_view` and `footprint_view` say how they look
(these three are pure), and `job` runs it.
"""
