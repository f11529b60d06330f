// Runs before the first paint: the colours that were chosen here, else those of the system.
{
  let chosen = null;
  try {
    chosen = localStorage.getItem('presswork.theme');
  } catch {
    // Storage may be off: the system decides.
  }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
}
