"""From the columns of a data set to the features of a network."""
