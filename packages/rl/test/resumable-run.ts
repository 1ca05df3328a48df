import { adaptiveKl, klInLoss, namedReward, policyObjectives, trainPolicy } from '../src/index.js';
import { fractionOfC, prompts, toyModel } from './toy.js';

/** A run with everything that a checkpoint must hold. The child process that gets killed and the test share it. */
export async function resumableRun(outputFolder: string, onStep: (step: number) => void = () => {}): Promise<string> {
  const { trainer } = await trainPolicy({
    model: await toyModel(1),
    rows: prompts,
    objective: {
      ...policyObjectives.grpo(),
      // A weight that moves in every step by up to a fifth.
      regularisers: [klInLoss({ beta: 0.05 }), adaptiveKl({ initKlCoef: 0.2, target: 0.1, horizon: 8 })],
    },
    // Named, since the child and the test compile its text differently.
    rewards: { fraction_of_c: namedReward('halves', {}, (text) => Math.round(fractionOfC(text) * 2) / 2) },
    steps: 6,
    promptsPerStep: 2,
    completionsPerPrompt: 4,
    maxCompletionLength: 4,
    iterationsPerBatch: 2,
    learningRate: 0.03,
    dynamicSampling: { maxRounds: 3 },
    seed: 9,
    outputFolder,
    saveSteps: 2,
    resume: true,
    onLog: ({ step }) => onStep(step),
  });
  const parameters = Object.entries(trainer.parameters).map(async ([name, p]) => [name, await p.toArray()] as const);
  return JSON.stringify(await Promise.all(parameters));
}

const [, script, folder, killAt] = process.argv;
if (script === import.meta.filename) {
  await resumableRun(folder!, (step) => {
    if (step === Number(killAt)) process.kill(process.pid, 'SIGKILL');
  });
}
