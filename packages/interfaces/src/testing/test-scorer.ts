import assert from 'node:assert/strict';
import type { CandidateRequest, CandidateScorer } from '../distribution.js';
import type { ScoreRequest, Scorer } from '../score.js';
import type { ScorerTrainer, TrainableRow } from '../train.js';
import { assertApart, assertEnds, assertNear, type Make, type TestFunction } from './kit.js';

/** Options of `testScorer`, `testCandidateScorer` and `testScorerTrainer`. */
export interface TestScorerOptions {
  /** Default: a few of one to three words of small letters. */
  readonly requests?: readonly ScoreRequest[];
  /** Largest difference that counts as rounding, as a part of the largest number. Default 1e-4. */
  readonly tolerance?: number;
}

const REQUESTS: readonly ScoreRequest[] = [
  { prompt: 'a b', continuation: ' c' },
  { prompt: 'b', continuation: ' a b c' },
  { prompt: 'c d e', continuation: ' a' },
];

const askedOf = (scorer: Scorer) => async (requests: readonly ScoreRequest[]) =>
  (await scorer.score(requests)).map(({ logProb, tokens, isGreedy }) => [logProb, tokens, Number(isGreedy)]);

/**
 * Registers the checks that every `Scorer` must pass, with the test function of any framework: one finite score of at most 0 a request,
 * of one token or more, whatever is asked beside; a continuation that goes on is never likelier than its beginning.
 */
export function testScorer(
  it: TestFunction,
  name: string,
  make: Make<Scorer>,
  { requests = REQUESTS, tolerance = 1e-4 }: TestScorerOptions = {},
): void {
  it(`the scorer ${name} gives each continuation its log-likelihood`, async () => {
    const scorer = await make();
    assert.ok(scorer.name !== '', 'it has a name');
    for (const { logProb, tokens, isGreedy } of await scorer.score(requests)) {
      assert.ok(Number.isFinite(logProb) && logProb <= 1e-6, `log p is ${logProb}`);
      assert.ok(Number.isSafeInteger(tokens) && tokens >= 1, `it has ${tokens} tokens`);
      assert.equal(typeof isGreedy, 'boolean', 'isGreedy');
    }
    await assertApart(requests, askedOf(scorer), tolerance);
  });

  it(`the scorer ${name} finds no continuation likelier than its beginning`, async () => {
    const scorer = await make();
    const longer = requests.map((one) => ({ ...one, continuation: `${one.continuation}${requests[0]!.continuation}` }));
    const [short, long] = [await scorer.score(requests), await scorer.score(longer)];
    short.forEach(({ logProb, isGreedy }, i) => {
      const further = long[i]!.logProb;
      assert.ok(further <= logProb + tolerance, `request ${i}: log p is ${logProb}, and ${further} of more text`);
      assert.ok(isGreedy || !long[i]!.isGreedy, `request ${i}: not greedy, and greedy with more text`);
    });
  });
}

/**
 * Registers the checks that every `CandidateScorer` must pass: probabilities that add up to 1 and fall as the log-probabilities do, their
 * entropy, whatever the order of candidates and whatever is asked beside; fewer than two candidates are refused.
 */
export function testCandidateScorer(
  it: TestFunction,
  name: string,
  make: Make<CandidateScorer>,
  { requests = REQUESTS, tolerance = 1e-4 }: TestScorerOptions = {},
): void {
  const candidates = requests.map(({ continuation }) => continuation);
  const asked: readonly CandidateRequest[] = requests.map(({ prompt }) => ({ prompt, candidates }));
  it(`the scorer of candidates ${name} gives a distribution`, async () => {
    const scorer = await make();
    for (const { logProbs, probabilities, entropy } of await scorer.distributions(asked)) {
      assert.equal(probabilities.length, candidates.length, 'one for each candidate');
      assertNear([probabilities.reduce((a, b) => a + b, 0)], [1], tolerance, 'their sum');
      const wanted = -probabilities.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
      assertNear([entropy], [wanted], tolerance, 'the entropy');
      logProbs.forEach((logProb, i) => {
        const odds = Math.exp(logProb - logProbs[0]!);
        assertNear([probabilities[i]!], [odds * probabilities[0]!], tolerance, `candidate ${i} beside the first`);
      });
    }
  });

  it(`the scorer of candidates ${name} does not see their order, nor what is asked beside`, async () => {
    const scorer = await make();
    const ask = async (some: readonly CandidateRequest[]) =>
      (await scorer.distributions(some)).map(({ probabilities, entropy }) => [...probabilities, entropy]);
    await assertApart(asked, ask, tolerance);
    const turned = await scorer.distributions(asked.map((one) => ({ ...one, candidates: [...candidates].reverse() })));
    (await scorer.distributions(asked)).forEach(({ probabilities }, i) => {
      assertNear([...turned[i]!.probabilities].reverse(), probabilities, tolerance, 'candidates in another order');
    });
    for (const few of [[], [candidates[0]!]]) {
      await assert.rejects(
        async () => scorer.distributions([{ prompt: '', candidates: few }]),
        `${few.length} candidates are refused`,
      );
    }
  });
}

/** Options of `testScorerTrainer`. */
export interface TestScorerTrainerOptions extends Pick<TestScorerOptions, 'tolerance'> {
  /** Rows that two models are trained on, one on each list; neither is found in the other. */
  readonly rows?: readonly [readonly TrainableRow[], readonly TrainableRow[]];
}

const ROWS: NonNullable<TestScorerTrainerOptions['rows']> = [
  [
    { prompt: 'a', completion: ' b b b' },
    { prompt: 'b', completion: ' b b' },
  ],
  [
    { prompt: 'a', completion: ' d d d' },
    { prompt: 'b', completion: ' d d' },
  ],
];

/**
 * Registers the checks that every `ScorerTrainer` must pass: rows that it was trained on are likelier than to a model that was not;
 * each call starts from the same, so that equal rows and seeds give equal scorers whatever was trained before; a signal ends it.
 */
export function testScorerTrainer(
  it: TestFunction,
  name: string,
  make: Make<ScorerTrainer>,
  { rows = ROWS, tolerance = 1e-4 }: TestScorerTrainerOptions = {},
): void {
  const requests = rows.flat().map(({ prompt, completion: continuation }) => ({ prompt, continuation }));
  const scoresOf = async (scorer: Scorer) => (await scorer.score(requests)).map(({ logProb }) => logProb);
  it(`the trainer of scorers ${name} makes its rows likelier`, async () => {
    const trainer = await make();
    const [first, second] = [await trainer.train(rows[0]), await trainer.train(rows[1])];
    const scores = [await scoresOf(first), await scoresOf(second)] as const;
    requests.forEach((_, i) => {
      const [own, other] = i < rows[0].length ? scores : [scores[1], scores[0]];
      assert.ok(own[i]! > other[i]!, `row ${i}: log p is ${own[i]} where it was trained on, ${other[i]} where not`);
    });
  });

  it(`the trainer of scorers ${name} starts from the same each time, and ends with the signal`, async () => {
    const [trainer, fresh] = [await make(), await make()];
    await trainer.train(rows[1], { seed: 3 });
    const [again, wanted] = [await trainer.train(rows[0], { seed: 3 }), await fresh.train(rows[0], { seed: 3 })];
    assertNear(await scoresOf(again), await scoresOf(wanted), tolerance, 'after another was trained');
    await assertEnds((signal) => trainer.train(rows[0], { signal }));
  });
}
