/**
 * Fine-tunes a tiny model, exports it as ONNX files, and serves a page in which it generates.
 *
 * Run: `npx tsx examples/browser/run.ts`. See README.md.
 */
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { CausalLM, exportGenerator } from '@posttrain/lm';
import { fineTunedModel } from './fine-tune.js';
import { serve } from './server.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    out: { type: 'string', default: join('runs', 'browser') },
    steps: { type: 'string', default: '32' },
    port: { type: 'string', default: '8321' },
  },
});

const model = values.model
  ? await CausalLM.fromPretrained(values.model)
  : await fineTunedModel(Number(values.steps), (step, loss) =>
      console.log(`LoRA step ${step}: loss ${loss.toFixed(3)}`),
    );
const { capacity } = await exportGenerator(model, values.out);
console.log(`Exported to ${relative('.', values.out)}, for ${capacity} tokens of prompt and completion.`);
const { url } = await serve(join(process.cwd(), values.out), Number(values.port));
console.log(`Open ${url} (end with Ctrl-C)`);
