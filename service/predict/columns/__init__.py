"""From rows of a table, as requests write them, to the codes that an encoder takes."""
