"""The closed expression grammar of rule conditions: tokens, syntax tree, types, functions.

Comparisons, ``and``/``or``/``not``, arithmetic, ``in``, literals and a few named functions; at
most 200 nodes and a depth of 8. No attributes, loops, regular expressions or calls by name,
and no text of a rule is ever given to Python's own ``eval`` or ``exec``: what is compiled is
written anew from the checked tree.

Missing values make three-valued logic (Kleene): a comparison or sum with a field that the
device did not give is *unknown*; ``false and unknown`` is false, ``true or unknown`` is true,
everything else with an unknown is unknown. A condition fires only when it is true, and clears
only when it is false; unknown changes nothing.
"""
