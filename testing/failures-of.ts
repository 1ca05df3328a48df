/** What registers checks of a kit with the test function of a framework. */
type Register = (it: (name: string, body: () => Promise<void>) => void) => void;

/**
 * What the checks of a kit that fail say, for tests of kits: each fault that is planted must be found.
 *
 * @param only the checks to run, by their names; default all
 */
export async function failuresOf(register: Register, only = /^/): Promise<string[]> {
  const bodies: (() => Promise<void>)[] = [];
  register((name, body) => only.test(name) && bodies.push(body));
  const failures: string[] = [];
  for (const body of bodies) {
    try {
      await body();
    } catch (error) {
      failures.push(String((error as Error).message));
    }
  }
  if (bodies.length === 0) throw new Error(`no check of the kit has a name like ${only}`);
  return failures;
}
