/** A kind of method that can be laid out: a folder of `templates/` with a method that works (`method.ts`) and its test (`check.ts`). */
export interface Kind {
  /** One sentence for `--help`. */
  readonly summary: string;
  /** The package that it is for, by its folder under `packages/`. */
  readonly package: string;
  /** Where its file goes, relative to the package. */
  readonly folder: string;
  /** The entry point that exports it. Default: the package's own. */
  readonly entry?: `/${string}`;
  /** The module that has its export line, relative to the package, where that is not the entry point's. */
  readonly index?: string;
  /** The table test of the kind, relative to the repository. */
  readonly test: string;
  /** The folder of `goldens/` for what a reference implementation says. Left out: nothing to compare numbers with. */
  readonly golden?: string;
  /** How it is used: an expression, in which `myMethod` is its name. */
  readonly usage: string;
  /** What is to be done by hand after it was laid out here. */
  readonly next?: string;
}

const kit = 'packages/rl/test/kits.test.ts';
const preset = 'a published combination goes into packages/rl/src/objective/presets.ts';
const continual = 'packages/training/test/continual.test.ts';
const decoding = 'packages/lm/test/decoding-kits.test.ts';

/** By the name of their folder in `templates/`. Another kind is a folder there and an entry here. */
export const KINDS = {
  advantage: {
    summary: 'how much better than expected a completion was: one number for each, or for each of its tokens',
    ...{ package: 'rl', folder: 'src/advantage', test: kit, golden: 'rl' },
    usage: 'policyObjective({ advantage: myMethod(), … })',
    next: preset,
  },
  aggregation: {
    summary: 'how the losses of single tokens add up to one number, said as weights of completions',
    ...{ package: 'rl', folder: 'src/aggregation', test: kit, golden: 'rl' },
    usage: 'policyObjective({ aggregation: myMethod(), … })',
    next: preset,
  },
  annotator: {
    summary: 'tells of rollouts what their rewards do not: values of a critic, a baseline',
    ...{ package: 'rl', folder: 'src/advantage', test: kit },
    usage: 'policyObjective({ annotators: [myMethod()], … })',
  },
  'data-step': {
    summary: 'a transform of a stream of rows, which counts what it drops',
    ...{ package: 'data', folder: 'src/steps', test: 'packages/data/test/misuse.test.ts' },
    usage: 'pipeline(rows, [myMethod()])',
  },
  'decode-hook': {
    summary: 'control of one row while it is generated: tokens that are forced or forbidden',
    ...{ package: 'lm', folder: 'src/generate', test: decoding, golden: 'sampling' },
    usage: 'generator.generate([{ prompt, hook: () => myMethod() }])',
  },
  'decoding-mix': {
    summary: 'several models a token: logits to draw from, made of the policy’s and others’',
    ...{ package: 'lm', folder: 'src/sampling/mixes', test: decoding, golden: 'sampling' },
    usage: 'generator.generate([{ prompt, mix: myMethod({ other: { model } }) }])',
  },
  engine: {
    summary: 'makes graphs run on one device',
    ...{ package: 'core-tensor', folder: 'src/engines', index: 'src/browser.ts' },
    test: 'packages/core-tensor/test/conformance-suite.test.ts',
    usage: 'setEngine(myMethod())',
    next: 'docs/engines.md says what an engine promises; device("auto") picks among those of packages/core-tensor/src/device.ts',
  },
  environment: {
    summary: 'a world to talk to, turn by turn: a tool, a user, a game',
    ...{ package: 'rl', folder: 'src/rollout', test: kit },
    usage: 'multiTurn(myMethod())',
  },
  grader: {
    summary: 'a reward, a grade or a score of a search, by a rule: a Verifier of texts',
    ...{ package: 'interfaces', folder: 'src/verifiers', entry: '/verifiers', golden: 'answers' },
    test: 'packages/eval/test/kinds.test.ts',
    usage: 'myMethod().verify([{ prompt, completion, row }])',
    next: 'where packages re-export verifiers (data, eval, rl), add it to their indices too',
  },
  'layer-method': {
    summary: 'a PEFT method that changes modules one by one: init, apply, merge',
    ...{ package: 'peft', folder: 'src/methods', test: 'packages/peft/test/methods.test.ts', golden: 'peft-methods' },
    usage: 'await createAdapter(model, myMethod, {})',
    next: 'list it in packages/peft/src/methods/peft-methods.ts, so that its files are known again',
  },
  loss: {
    summary: 'a loss over tokens, or over other readouts of a pass',
    ...{ package: 'training', folder: 'src/sft', test: 'packages/training/test/losses.test.ts', golden: 'losses' },
    usage: 'await trainer.forwardBackward(rows, myMethod())',
  },
  op: {
    summary: 'an operation on tensors with a gradient, which every engine runs (defineOp)',
    ...{ package: 'core-tensor', folder: 'src/kernels', index: 'src/browser.ts', golden: 'kernels' },
    test: 'packages/core-tensor/test/kernels-custom.test.ts',
    usage: 'myMethod(x)',
  },
  'peft-method': {
    summary: 'any other way to train a few tensors beside a frozen model: plan, init, hooks',
    ...{ package: 'peft', folder: 'src/methods', test: 'packages/peft/test/methods.test.ts', golden: 'peft-methods' },
    usage: 'await createAdapter(model, myMethod, {})',
    next: 'list it in packages/peft/src/methods/peft-methods.ts, so that its files are known again',
  },
  penalty: {
    summary: 'what a step adds to the loss that depends on the trained tensors and on no row',
    ...{ package: 'training', folder: 'src/continual', test: continual, golden: 'update-rules' },
    usage: 'await sft({ penalties: [myMethod({ anchors, lambda })], … })',
  },
  'preference-loss': {
    summary: 'a loss over pairs of completions, or over single or ranked ones',
    ...{ package: 'rl', folder: 'src/preference', test: 'packages/rl/test/public-parts.test.ts', golden: 'rl' },
    usage: 'trainPreferences({ loss: myMethod(), … })',
    next: 'list it in packages/rl/src/preference/presets.ts',
  },
  proposer: {
    summary: 'guesses how rows go on, for speculative decoding',
    ...{ package: 'lm', folder: 'src/speculative', test: decoding, golden: 'speculative' },
    usage: 'new LocalGenerator(model, { speculative: { proposer: () => myMethod() } })',
  },
  ratio: {
    summary: 'the importance ratio between the policy that is trained and the one that sampled',
    ...{ package: 'rl', folder: 'src/ratio', test: kit, golden: 'rl' },
    usage: 'policyObjective({ ratio: myMethod(), … })',
    next: preset,
  },
  regulariser: {
    summary: 'what a policy is held to beside the reward: in the reward, in the loss, or both',
    ...{ package: 'rl', folder: 'src/regulariser', test: kit, golden: 'rl' },
    usage: 'policyObjective({ regularisers: [myMethod({ beta: 0.1 })], … })',
    next: preset,
  },
  'rollout-source': {
    summary: 'where rollouts come from: tokens, a mask, and log-probabilities of what sampled them',
    ...{ package: 'rl', folder: 'src/rollout', test: kit },
    usage: 'trainPolicy({ source: myMethod(), … })',
  },
  'row-source': {
    summary: 'rows that are asked anew for every step: replay, a curriculum',
    ...{ package: 'training', folder: 'src/continual', test: continual },
    usage: 'await sft({ rows: myMethod(rows), steps: 100, … })',
  },
  sandbox: {
    summary: 'a place to run programs that nobody has read',
    ...{ package: 'sandbox', folder: 'src/my-method', test: 'packages/sandbox/test/process.test.ts' },
    usage: 'await myMethod({ inside: quickjs() }).run(job)',
    next: 'a way to isolate of your own is tried by packages/sandbox/src/sandbox-for.ts',
  },
  strategy: {
    summary: 'a search over texts with any generator and verifier, under a budget',
    ...{ package: 'tts', folder: 'src/strategies', test: 'packages/tts/test/strategies-kit.test.ts', golden: 'search' },
    usage: 'await myMethod({ prompt }, { generator, verifier, n: 8 })',
  },
  surrogate: {
    summary: 'what is minimised for each token, so that its gradient improves the policy',
    ...{ package: 'rl', folder: 'src/surrogate', test: kit, golden: 'rl' },
    usage: 'policyObjective({ surrogate: myMethod(), … })',
    next: preset,
  },
  'task-kind': {
    summary: 'a kind of evaluation task: what is asked, logged and seen by metrics',
    ...{ package: 'eval', folder: 'src/kinds', test: 'packages/eval/test/kinds.test.ts', golden: 'rolling' },
    usage: 'await evaluate(myMethod({ name, dataset, prompt, target, metrics: [myMethodLikelihood()] }), scorer)',
  },
  'update-rule': {
    summary:
      'how an update is made of rows and a loss, where it is no optimizer’s step: a trust region, privacy, second order',
    ...{
      package: 'training',
      folder: 'src/update',
      test: 'packages/training/test/updates.test.ts',
      golden: 'update-rules',
    },
    usage: 'await sft({ update: myMethod(), … })',
  },
} as const satisfies Readonly<Record<string, Kind>>;

/** A kind that can be laid out. */
export type KindName = keyof typeof KINDS;
