import assert from 'node:assert/strict';
import type { Embedder } from '../embed.js';
import type { Entailer, EntailmentRequest } from '../entail.js';
import type { FeatureRequest, GradientOptions, RowFeatures, RowGradients } from '../features.js';
import { assertApart, assertEnds, assertNear, type Make, type TestFunction } from './kit.js';

/** Options of `testEmbedder`, `testRowFeatures`, `testRowGradients` and `testEntailer`. */
export interface TestVectorsOptions {
  /** Texts that are asked about, three or more, none like another. */
  readonly texts?: readonly string[];
  /** Largest difference that counts as rounding, as a part of the largest number. Default 1e-4. */
  readonly tolerance?: number;
}

const TEXTS = ['a b c', 'd', 'e a d b'];

const requestsOf = (texts: readonly string[]): FeatureRequest[] =>
  texts.map((completion, i) => ({ prompt: texts[(i + 1) % texts.length]!, completion }));

function assertVectors(vectors: readonly Float32Array[]): void {
  const [first] = vectors;
  assert.ok(first!.length > 0, 'vectors have numbers');
  for (const vector of vectors) {
    assert.equal(vector.length, first!.length, 'vectors of one length');
    assert.ok(vector.every(Number.isFinite), 'a number is not finite');
  }
  const texts = new Set(vectors.map((vector) => String(Array.from(vector))));
  assert.ok(texts.size > 1, 'all texts have the same vector');
}

/** Registers the checks that every `Embedder` must pass: one finite vector a text, of one length, whatever is asked beside. */
export function testEmbedder(
  it: TestFunction,
  name: string,
  make: Make<Embedder>,
  { texts = TEXTS, tolerance = 1e-4 }: TestVectorsOptions = {},
): void {
  it(`the embedder ${name} gives each text its vector`, async () => {
    const embedder = await make();
    assert.ok(embedder.name !== '', 'it has a name');
    assertVectors(await embedder.embed(texts));
    await assertApart(texts, (some) => embedder.embed(some), tolerance);
    const [one, other] = await embedder.embed([texts[0]!, texts[0]!]);
    assertNear(one!, other!, tolerance, 'the same text twice');
  });
}

/** Registers the checks that every `RowFeatures` must pass: as `testEmbedder`, of the length that it says, ended by a signal. */
export function testRowFeatures(
  it: TestFunction,
  name: string,
  make: Make<RowFeatures>,
  { texts = TEXTS, tolerance = 1e-4 }: TestVectorsOptions = {},
): void {
  it(`the features ${name} give each row its vector`, async () => {
    const features = await make();
    const vectors = await features.features(requestsOf(texts));
    assertVectors(vectors);
    if (features.dimension !== undefined) assert.equal(vectors[0]!.length, features.dimension, 'the dimension');
    await assertApart(requestsOf(texts), (some) => features.features(some), tolerance);
    await assertEnds((signal) => features.features(requestsOf(texts), { signal }));
  });
}

/** Options of `testRowGradients`. */
export interface TestRowGradientsOptions extends TestVectorsOptions {
  /** How it is asked: by the output layer, in the direction of Adam. Default: as it comes. */
  readonly ask?: GradientOptions;
  /** Whether it projects. Default true. */
  readonly projects?: boolean;
}

/**
 * Registers the checks that every `RowGradients` must pass: as `testRowFeatures`; and a projection has the length and space that it is
 * asked for, the same of one seed, another of another, with inner products kept within what so many numbers can.
 */
export function testRowGradients(
  it: TestFunction,
  name: string,
  make: Make<RowGradients>,
  { texts = TEXTS, tolerance = 1e-4, ask = {}, projects = true }: TestRowGradientsOptions = {},
): void {
  const requests = requestsOf(texts);
  it(`the gradients ${name} give each row its vector`, async () => {
    const rows = await make();
    assertVectors(await rows.gradients(requests, ask));
    await assertApart(requests, (some) => rows.gradients(some, ask), tolerance);
    await assertEnds((signal) => rows.gradients(requests, { ...ask, signal }));
  });
  if (!projects) return;
  it(`the gradients ${name} keep lengths under a projection`, async () => {
    const rows = await make();
    const squared = (vector: Float32Array) => vector.reduce((sum, x) => sum + x * x, 0);
    const whole = await rows.gradients(requests, ask);
    const projection = 512;
    const [one, again, other] = [
      await rows.gradients(requests, { ...ask, projection, seed: 1 }),
      await rows.gradients(requests, { ...ask, projection, seed: 1 }),
      await rows.gradients(requests, { ...ask, projection, seed: 2 }),
    ];
    requests.forEach((_, i) => {
      assert.equal(one![i]!.length, projection, 'the length of a projection');
      assertNear(one![i]!, again![i]!, tolerance, 'of the same seed');
      // The square of a random projection has the deviation √(2 / length) as a part of it: six of them.
      const part = squared(one![i]!) / squared(whole[i]!);
      assert.ok(Math.abs(part - 1) < 6 * Math.sqrt(2 / projection), `row ${i}: its square becomes ${part} of it`);
    });
    assert.notDeepEqual(one, other, 'another seed is another space');
  });
}

/** Options of `testEntailer`. */
export interface TestEntailerOptions extends TestVectorsOptions {
  /** Whether it is to find that every text follows from itself. Default true; false for a model with random weights. */
  readonly reflexive?: boolean;
}

/** Registers the checks that every `Entailer` must pass: three probabilities that add up to 1, whatever is asked beside. */
export function testEntailer(
  it: TestFunction,
  name: string,
  make: Make<Entailer>,
  { texts = TEXTS, tolerance = 1e-4, reflexive = true }: TestEntailerOptions = {},
): void {
  const pairs: readonly EntailmentRequest[] = texts.flatMap((premise, i) => [
    { premise, hypothesis: premise },
    { premise, hypothesis: texts[(i + 1) % texts.length]! },
  ]);
  it(`the entailer ${name} gives each pair its probabilities`, async () => {
    const entailer = await make();
    const ask = async (some: readonly EntailmentRequest[]) =>
      (await entailer.entail(some)).map(({ entailment, neutral, contradiction }) => [
        entailment,
        neutral,
        contradiction,
      ]);
    for (const [i, [entailment, ...others]] of (await ask(pairs)).entries()) {
      const all = [entailment!, ...others];
      assert.ok(
        all.every((p) => p >= 0 && p <= 1 + tolerance),
        `they are ${all}`,
      );
      assertNear([all.reduce((a, b) => a + b, 0)], [1], tolerance, `the sum of pair ${i}`);
      if (reflexive && i % 2 === 0) {
        assert.ok(entailment! > Math.max(...others), `"${pairs[i]!.premise}" does not follow from itself: ${all}`);
      }
    }
    await assertApart(pairs, ask, tolerance);
  });
}
