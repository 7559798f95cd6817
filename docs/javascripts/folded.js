// Opens the folded section that a link names, or in which the link leads.
function unfold(hash) {
  const target = document.getElementById(decodeURIComponent(hash.slice(1)));
  if (!target || !target.closest("details")) return;
  for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) {
    part.open = true;
  }
  target.scrollIntoView();
}

addEventListener("DOMContentLoaded", () => unfold(location.hash));
addEventListener("hashchange", () => unfold(location.hash));
addEventListener("click", (event) => {
  const link = event.target.closest("a[href*='#']");
  // a second click on the same link does not change the address
  if (link && link.href === location.href) unfold(link.hash);
});
