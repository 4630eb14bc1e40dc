"""One file for each kind of file. Each gives the columns in blocks of rows, as often as asked."""
