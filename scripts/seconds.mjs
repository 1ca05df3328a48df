// The seconds of a test run by package and kind (the folder or file of `test/`), beside the budgets of `budgets.json`.

const REST = 'everything else';

/**
 * Seconds by package, each with its kinds, the longest first. `cores`: how many files ran at once, so that a package's
 * seconds are those that it takes of the whole run.
 */
export function secondsByPackage(files, budgets, cores) {
  const rows = new Map(Object.keys(budgets).map((name) => [name, { name, seconds: 0, kinds: new Map() }]));
  for (const { path, seconds } of files) {
    const [, own] = /^packages\/([^/]+)\//.exec(path) ?? [];
    const row = rows.get(own !== undefined && rows.has(own) ? own : REST);
    const kind = kindOf(path, row.name === REST);
    row.seconds += seconds / cores;
    row.kinds.set(kind, (row.kinds.get(kind) ?? 0) + seconds / cores);
  }
  return [...rows.values()].map(({ name, seconds, kinds }) => ({
    name,
    seconds,
    budget: budgets[name],
    kinds: [...kinds].sort((a, b) => b[1] - a[1]).map(([kind, spent]) => ({ kind, seconds: spent })),
  }));
}

function kindOf(path, isShared) {
  const [, folder, rest] = /^(packages\/[^/]+|[^/]+)\/(.*)$/.exec(path);
  if (isShared) return folder.replace('packages/', '');
  const inside = rest.replace(/^(test|src)\//, '').split('/');
  return inside.length > 1 ? inside[0] : inside[0].replace(/(\.golden|\.slow)?\.test\.ts$/, '');
}

/** The lines that `npm test` prints: a package a line, with its longest kinds. */
export function secondsTable(rows) {
  const width = Math.max(...rows.map(({ name }) => name.length));
  return rows.map(({ name, seconds, budget, kinds }) => {
    const over = seconds > budget ? '  OVER ITS BUDGET' : '';
    const longest = kinds.slice(0, 6).map(({ kind, seconds: spent }) => `${kind} ${spent.toFixed(0)}`);
    return `${name.padEnd(width)}  ${seconds.toFixed(0).padStart(4)} s of ${budget} s${over}  ${longest.join(', ')}`;
  });
}
