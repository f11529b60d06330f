// The front page: its examples name this very address, and can be copied.

const here = (location.origin + location.pathname).replace(/\/$/, '');
for (const example of document.querySelectorAll('pre')) {
  example.textContent = example.textContent.replaceAll('{origin}', here);
}
for (const button of document.querySelectorAll('[data-copy]')) {
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1600);
  });
}
