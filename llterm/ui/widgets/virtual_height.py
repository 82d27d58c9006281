"""How high the content of a scrolling pane is, without laying the whole screen out anew."""

from __future__ import annotations

from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.widget import Widget


def set_virtual_height(pane: ScrollView, height: int) -> None:
    """Tell a pane the height of its content.

    Setting `virtual_size` is a new layout, and a layout paints the whole screen: some 9 KB for
    every suggestion that arrives. Only a scrollbar that comes or goes needs one.
    """
    size = Size(0, height)
    if size == pane.virtual_size:
        return
    pane.set_reactive(Widget.virtual_size, size)
    pane.refresh()
    pane._refresh_scrollbars()
    pane.vertical_scrollbar.window_virtual_size = height
    if pane.scroll_y > pane.max_scroll_y:
        pane.scroll_to(y=pane.max_scroll_y, animate=False)
