import { oneOf, options, text } from '@posttrain/interfaces';
import { CausalLM, INT4_FORMATS, resolveModelFolder } from '@posttrain/lm';
import { CommandLineError } from '../options/command-line-error.js';
import { camelKeys, isRecord } from '../options/names.js';
import { loadModel, loadRows } from '../training/load.js';
import { chosen, isNamed } from '../training/made-options.js';
import type { DeclaredCommand } from './declared-command.js';

/** These look at what the model computes of rows. */
const CALIBRATED = ['gptq', 'awq', 'smoothquant'];
/** These give the codes of int4. */
const INT4 = ['int4', 'gptq', 'awq'];

const shape = {
  /** A Hugging Face folder, a GGUF file, or a name on the hub. */
  model: text({}),
  /** The folder that is written, whole or not at all. */
  output: text({}),
  /** `nf4`, `fp4`, `int8`, `int4` or `hqq`, or with rows to look at `gptq`, `awq` or `smoothquant`; its options after a dot. */
  method: chosen('the name of a method', isNamed, {}),
  /** Those rows, each with a `text`. */
  rows: chosen('a file or folder of rows', isNamed, { optional: true }),
  /**
   * Of `int4`, `gptq` and `awq`: what the folder is written as, for compressed-tensors (`pack-quantized`, the default), or for GPTQ's tools (`gptq`,
   * `gptq_v2`) or AWQ's (`awq`), with `--dtype float16`, which those compute in.
   */
  format: oneOf(INT4_FORMATS, { optional: true }),
  /** What weights that stay floats are stored as, and the scales of `gptq` and `awq`. */
  dtype: oneOf(['float32', 'float16', 'bfloat16'], { default: 'float32' }),
};
const declared = options('quantize', shape);

export const quantizeCommand: DeclaredCommand<typeof shape> = {
  name: 'quantize',
  usage: 'MODEL OUTPUT --method NAME [options]',
  about: 'Quantises the linear layers of a model.',
  declared,
  positionals: ['model', 'output'],
  async run({ model: name, output, method, rows, format, dtype }, { print }) {
    const how = isRecord(method) ? method : { name: method };
    const isCalibrated = CALIBRATED.includes(String(how.name));
    if (isCalibrated !== (rows !== undefined)) {
      throw new CommandLineError(`--rows and --method ${CALIBRATED.join(' or ')} are given together: rows to look at.`);
    }
    if (format !== undefined && !INT4.includes(String(how.name))) {
      throw new CommandLineError(
        `--format ${format} is for --method ${INT4.join(', ')}; ${how.name} has a form of its own.`,
      );
    }
    const quantized = isCalibrated ? await calibrated(name, how, rows) : await loadModel(name, how);
    await quantized.save(output, { dtype, ...(format && { int4Format: format }) });
    print(`${output}: ${(quantized.storage.bytes / 1e6).toFixed(1)} MB\n`);
    return 0;
  },
};

async function calibrated(name: string, { name: method, ...how }: Readonly<Record<string, unknown>>, from: unknown) {
  const rows = await loadRows('--rows', from);
  const model = await CausalLM.load(await resolveModelFolder(name));
  const texts = rows.map((row, i) => {
    if (typeof row.text === 'string' && row.text !== '') return row.text;
    throw new CommandLineError(`--rows: row ${i + 1} has no text.`);
  });
  const tokens = texts.map((one) => model.tokenizer.encode(one).slice(0, model.config.maxPositionEmbeddings));
  return model.quantize({ ...(camelKeys(how) as object), method, rows: tokens } as never);
}
