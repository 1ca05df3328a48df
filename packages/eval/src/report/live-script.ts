/**
 * What runs in a report that is live: asks for the page again, and puts in the place of each part that differs the new one. A document that is
 * parsed runs nothing, and the page's policy lets no other script run either.
 */
export const LIVE_SCRIPT = `'use strict';
(() => {
  const status = document.getElementById('live');
  const say = (text) => { if (status.textContent !== text) status.textContent = text; };
  const parts = (root) => [root.querySelector('header'), ...root.querySelectorAll('main > section')];
  let tag = '', shown = parts(document).map((part) => part.outerHTML);

  // A path of places, which leads to the same element of a part that has been made anew.
  const pathTo = (root, element) => {
    const path = [];
    for (let at = element; at !== root; at = at.parentElement) path.unshift([...at.parentElement.children].indexOf(at));
    return path;
  };
  const follow = (root, path) => path.reduce((at, place) => at && at.children[place], root);

  function replace(before, after) {
    const open = [...before.querySelectorAll('details[open]')].map((one) => pathTo(before, one));
    const scrolled = [...before.querySelectorAll('pre, .table')].filter((one) => one.scrollTop || one.scrollLeft).map((one) => [pathTo(before, one), one.scrollTop, one.scrollLeft]);
    const focused = before.contains(document.activeElement) ? pathTo(before, document.activeElement) : undefined;
    before.replaceWith(after);
    for (const path of open) { const one = follow(after, path); if (one && one.tagName === 'DETAILS') one.open = true; }
    for (const [path, top, left] of scrolled) { const one = follow(after, path); if (one) { one.scrollTop = top; one.scrollLeft = left; } }
    if (focused) { const one = follow(after, focused); if (one && one.focus) one.focus({ preventScroll: true }); }
  }

  async function look() {
    let answer;
    try {
      answer = await fetch(location.pathname + location.search, { headers: tag ? { 'If-None-Match': tag } : {}, cache: 'no-store' });
    } catch {
      say('Not live any more: the server has ended. This is what it showed last.');
      return;
    }
    if (answer.status !== 304) {
      if (!answer.ok) { say('Not live: ' + (await answer.text())); return; }
      tag = answer.headers.get('ETag') || '';
      const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
      document.title = next.title;
      const [old, fresh] = [parts(document), parts(next)];
      const texts = fresh.map((part) => part.outerHTML);
      fresh.forEach((part, i) => {
        if (texts[i] === shown[i]) return;
        if (old[i]) replace(old[i], document.adoptNode(part));
        else document.querySelector('main').append(document.adoptNode(part));
      });
      old.slice(fresh.length).forEach((part) => part.remove());
      shown = texts;
    }
    say('Live: what is new is shown by itself.');
  }

  document.documentElement.dataset.live = '';
  setInterval(look, 2000);
})();
`;
