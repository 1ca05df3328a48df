/** What registers checks of a kit with the test function of a framework. */
type Register = (it: (name: string, body: () => Promise<void>) => void) => void;

/** What the checks of a kit that fail say, for tests of kits: each fault that is planted must be found. */
export async function failuresOf(register: Register): Promise<string[]> {
  const bodies: (() => Promise<void>)[] = [];
  register((_, body) => bodies.push(body));
  const failures: string[] = [];
  for (const body of bodies) {
    try {
      await body();
    } catch (error) {
      failures.push(String((error as Error).message));
    }
  }
  return failures;
}
