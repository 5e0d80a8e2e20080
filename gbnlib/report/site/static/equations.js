// An equation that is wider than the screen can be scrolled with the keyboard.
(() => {
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const box = target.querySelector("mjx-container");
      if (box?.scrollWidth > box?.clientWidth) box.setAttribute("tabindex", "0");
      else box?.removeAttribute("tabindex");
    }
  });
  document.querySelectorAll("div.math").forEach((equation) => watch.observe(equation));
})();
