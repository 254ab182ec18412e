"""Still lifes with exact masks and names, rendered by a path tracer: `python -m examples.still_lifes --seed 3`.

Lengths are centimetres, z is up, colours are linear RGB.
"""
