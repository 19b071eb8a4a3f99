"""Results as people read them: figures with intervals, tables, names, the words around them."""
