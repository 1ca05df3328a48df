import assert from 'node:assert/strict';

/** The test function of any framework. */
export type TestFunction = (name: string, body: () => Promise<void>) => void;

/** What a kit is told to test: it makes a new one, which may take a while. */
export type Make<T> = () => T | Promise<T>;

/** Numbers that are the same but for rounding. */
export function assertNear(found: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(found.length, wanted.length, `${what}: how many numbers there are`);
  const size = Math.max(1, ...Array.from(wanted, Math.abs));
  Array.from(found).forEach((value, i) => {
    const isNear = Math.abs(value - wanted[i]!) <= tolerance * size;
    assert.ok(isNear, `${what}: number ${i} is ${value}, not ${wanted[i]}`);
  });
}

/** That what is asked together is answered as what is asked alone, in order, and nothing of nothing. */
export async function assertApart<Request>(
  requests: readonly Request[],
  ask: (some: readonly Request[]) => Promise<readonly ArrayLike<number>[]>,
  tolerance: number,
): Promise<void> {
  assert.deepEqual(await ask([]), [], 'nothing asked');
  const together = await ask(requests);
  assert.equal(together.length, requests.length, 'one answer for each request');
  for (const [i, request] of requests.entries()) {
    const alone = await ask([request]);
    assertNear(together[i]!, alone[0]!, tolerance, `request ${i}, together with others and alone`);
  }
  const turned = [...(await ask([...requests].reverse()))].reverse();
  turned.forEach((answer, i) => {
    assertNear(answer, together[i]!, tolerance, `request ${i}, in another order`);
  });
}

/** That a signal that has fired ends it. */
export const assertEnds = async (begin: (signal: AbortSignal) => Promise<unknown>): Promise<void> =>
  assert.rejects(async () => begin(AbortSignal.abort(new Error('enough'))), /enough/, 'a signal that has fired');
