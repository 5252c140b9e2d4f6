// The theme listens to the first button of each kind alone, and that one is in a bar that it hides.
document.addEventListener("DOMContentLoaded", () => {
  for (const kind of [".primary-toggle", ".secondary-toggle"]) {
    const [first, ...others] = document.querySelectorAll(kind);
    for (const one of others) one.addEventListener("click", () => first.click());
  }
});
