// On paper nothing can be unfolded and the page is white: while printing, open what is folded and use the light mode.
(() => {
  const root = document.documentElement;
  let opened = [];
  let theme;
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((details) => (details.open = true));
    theme = root.dataset.theme;
    root.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    opened.forEach((details) => (details.open = false));
    root.dataset.theme = theme;
  });
})();
