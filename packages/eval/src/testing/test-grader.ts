import assert from 'node:assert/strict';
import type { VerifyRequest } from '@posttrain/interfaces';
import type { Grader } from '../task.js';

/** Completions, and what the grader must say of them. */
export interface TestGraderOptions {
  /** At least two; each with the score that it gets, or `undefined` where any will do. */
  readonly cases: readonly { readonly request: VerifyRequest; readonly score?: number | null }[];
  /** Whether it waits for something (a model, a process) and so must end when the signal of a request has fired. Default false. */
  readonly waits?: boolean;
}

/**
 * Registers the checks that every grader (`Verifier`) must pass, with the test function of any framework:
 * `testGrader(it, () => exactMatch(), { cases })`. `make` gives a new grader each time.
 */
export function testGrader(
  it: (name: string, body: () => Promise<void>) => void,
  make: () => Grader,
  { cases, waits = false }: TestGraderOptions,
): void {
  const { name } = make();
  const requests = cases.map(({ request }) => request);
  const check = (what: string, body: (grader: Grader) => Promise<void>): void =>
    it(`grader "${name}" ${what}`, () => body(make()));

  check('has a name', async (grader) => assert.match(grader.name, /\S/));

  check('gives one verdict a request, with the score that is expected', async (grader) => {
    assert.ok(cases.length >= 2, 'the checks need two cases or more');
    const verdicts = await grader.verify(requests);
    assert.equal(verdicts.length, requests.length);
    for (const [i, { score }] of cases.entries()) {
      const given = verdicts[i]!.score;
      assert.ok(
        given === null || Number.isFinite(given),
        `the score of case ${i} is ${given}; it is a finite number or null`,
      );
      if (score !== undefined) assert.equal(given, score, `case ${i}`);
    }
  });

  check('judges each completion by itself, whatever it is asked with', async (grader) => {
    const together = await grader.verify(requests);
    for (const [i, request] of requests.entries())
      assert.deepEqual(await make().verify([request]), [together[i]], `case ${i}`);
    assert.deepEqual(await grader.verify([...requests].reverse()), [...together].reverse());
  });

  check('says nothing when asked nothing', async (grader) => assert.deepEqual(await grader.verify([]), []));

  check('changes no request', async (grader) => {
    const before = structuredClone(requests.map(({ signal: _, ...request }) => request));
    await grader.verify(requests);
    assert.deepEqual(
      requests.map(({ signal: _, ...request }) => request),
      before,
    );
  });

  check('gives verdicts that JSON can hold', async (grader) => {
    const verdicts = await grader.verify(requests);
    assert.deepEqual(JSON.parse(JSON.stringify(verdicts)), verdicts);
  });

  if (!waits) return;
  check('ends when the signal has fired', async (grader) => {
    const reason = new Error('stopped');
    const signal = AbortSignal.abort(reason);
    await assert.rejects(grader.verify(requests.map((request) => ({ ...request, signal }))));
  });
}
