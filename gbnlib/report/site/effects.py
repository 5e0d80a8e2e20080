"""The effect that decides a claim as a small SVG picture: the claim's range, the interval, the paper's number."""

from markupsafe import Markup

from gbnlib.claims import Effect

WIDTH, HEIGHT = 240, 30
_MIDDLE, _MARGIN = HEIGHT / 2, 8


def effect_svg(effect: Effect) -> Markup:
    """One row of the claim grid; colours come from the page's classes `range`, `bar`, `dot`, `paper` and `bound`.

    The scale is the row's own: it holds the interval, the ends of the claim's range and the paper's number. An open end
    of the range is the edge of the picture.
    """
    bounds = [bound for bound in (effect.least, effect.most) if bound is not None]
    values = [value for value in (effect.estimate, effect.low, effect.high, effect.paper) if value is not None]
    low, high = min(values + bounds), max(values + bounds)
    pad = 0.1 * (high - low) or 1.0

    def x(value: float) -> float:
        return round(_MARGIN + (WIDTH - 2 * _MARGIN) * (value - low + pad) / (high - low + 2 * pad), 1)

    left = 0 if effect.least is None else x(effect.least)
    right = WIDTH if effect.most is None else x(effect.most)
    parts = [f'<rect class="range" x="{left}" y="3" width="{max(right - left, 1):.1f}" height="{HEIGHT - 6}"/>']
    parts += [f'<path class="bound" d="M{x(bound)} 1V{HEIGHT - 1}"/>' for bound in bounds]
    if effect.low is not None:
        parts.append(f'<path class="bar" d="M{x(effect.low)} {_MIDDLE}H{x(effect.high)}"/>')
    parts.append(f'<circle class="dot" cx="{x(effect.estimate)}" cy="{_MIDDLE}" r="4.5"/>')
    if effect.paper is not None:
        at = x(effect.paper)
        top, bottom = _MIDDLE - 5, _MIDDLE + 5
        parts.append(f'<path class="paper" d="M{at - 5} {top}L{at + 5} {bottom}M{at - 5} {bottom}L{at + 5} {top}"/>')
    return Markup(
        f'<svg class="effect" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{{}}">{"".join(parts)}</svg>'
    ).format(described(effect))


def described(effect: Effect) -> str:
    """What the picture shows, in words."""
    ends = "" if effect.low is None else f", 95 % interval {effect.low:.3g} to {effect.high:.3g}"
    known = [f"{word} {end:.3g}" for word, end in (("above", effect.least), ("below", effect.most)) if end is not None]
    beside = "" if effect.paper is None else f"; the paper has {effect.paper:.3g}"
    shown = f"{effect.estimate:.3g} {effect.unit}".rstrip()
    return f"{effect.what}: {shown}{ends}; the claim asks for {' and '.join(known)}{beside}"
