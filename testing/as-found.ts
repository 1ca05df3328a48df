import { afterAll } from 'vitest';

// Files of one project share a process (vitest.config.ts): each leaves the environment and the folder as it found them.
const environment = { ...process.env };
const folder = process.cwd();

afterAll(() => {
  for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name];
  Object.assign(process.env, environment);
  process.chdir(folder);
});
