import { createAdapter, lora } from '@posttrain/peft';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import { type SftOptions, type SftResult, sft } from '../src/index.js';

/** Tokenized rows that count upwards from different starts. */
export const countingRows = Array.from({ length: 12 }, (_, i) => {
  const ids = Array.from({ length: 4 + (i % 5) }, (__, t) => (3 * i + t) % 40);
  return { input_ids: ids, labels: ids.map((id, t) => (t < 2 ? -100 : id)) };
});

async function makeStart() {
  const model = await tinyModel('llama');
  return {
    model,
    adapter: await createAdapter(model, lora, { r: 4, targetModules: 'all-linear', loraDropout: 0.1 }, { seed: 7 }),
  };
}

/** Where every run starts: training leaves it as it is. */
export const start = makeStart();

/** A small deterministic run. */
export async function smallRun(options: Partial<SftOptions> = {}): Promise<SftResult> {
  return sft({
    ...(await start),
    rows: countingRows,
    batchSize: 4,
    learningRate: 0.01,
    ...(options.steps === undefined && { epochs: 4 }),
    warmupSteps: 2,
    loggingSteps: 5,
    ...options,
  });
}

// As a program: runs into a folder, going on where an earlier run was killed, and says each step. With a third argument
// it kills itself a moment after that step, wherever it then is: in the next step, or writing a checkpoint.
// With a fourth, the states of the optimizer are in that folder.
const [, program, outputFolder, fatalStep, nvmePath] = process.argv;
if (program?.endsWith('sft-run.ts') && outputFolder !== undefined) {
  await smallRun({
    outputFolder,
    saveSteps: 1,
    resume: true,
    ...(nvmePath !== undefined && { offloadOptimizer: { device: 'nvme', nvmePath, subGroupSize: 500 } }),
    onProgress: ({ done }) => {
      process.stdout.write(`${done}\n`);
      if (done === Number(fatalStep)) setTimeout(() => process.kill(process.pid, 'SIGKILL'), Math.random() * 15);
    },
  });
}
