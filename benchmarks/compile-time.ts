/**
 * How long a training step takes to compile, by phase: in new processes, and the second time in each.
 *
 * usage: npx tsx benchmarks/compile-time.ts [--task sft|full] [--model 10m|135m] [--processes 3] [--threads 2]
 *
 * trace: the function called with placeholders, gradients included (in a graph without kernels this counts as simplify).
 * simplify: our own passes over the graph. lower: the ONNX model is written. session: ONNX Runtime reads it. first run: its first call, with memory touched for the first
 * time, beside a later one. Seconds, the smallest of the processes.
 */
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { type Engine, type Executable, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { lowerGraph } from '../packages/core-tensor/src/engines/onnxruntime/lowering.js';
import { encodeModel } from '../packages/core-tensor/src/engines/onnxruntime/proto.js';
import { MODEL_CONFIGS, type ModelName, randomTokens } from './cases.js';
import { randomModel } from './random-model.js';
import { renderMarkdown } from './render.js';
import { fullTrainer, loraTrainer, trainerStep } from './steps.js';

const PHASES = ['trace', 'simplify', 'lower', 'session', 'firstRun', 'laterRun'] as const;
type Phases = Record<(typeof PHASES)[number], number>;

/** One compiled graph, in the order in which they were. */
interface CompiledGraph extends Phases {
  readonly nodes: number;
}

interface Report {
  readonly first: readonly CompiledGraph[];
  readonly second: readonly CompiledGraph[];
}

const { values: flags } = parseArgs({
  options: {
    task: { type: 'string', default: 'sft' },
    model: { type: 'string', default: '135m' },
    processes: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(availableParallelism()) },
    child: { type: 'boolean', default: false },
  },
});
if (!['sft', 'full'].includes(flags.task)) throw new Error(`--task: there is no "${flags.task}"; there are sft, full`);

if (flags.child) console.log(JSON.stringify(await measure()));
else {
  const reports = Array.from({ length: Number(flags.processes) }, inNewProcess);
  const rows = (['first', 'second'] as const).flatMap((time) => [
    ...reports[0]![time].map(({ nodes }, graph) =>
      row(`${time} time, graph of ${nodes} nodes`, (phase) => Math.min(...reports.map((r) => r[time][graph]![phase]))),
    ),
    row(`${time} time, together`, (phase) =>
      Math.min(...reports.map((r) => r[time].reduce((sum, graph) => sum + graph[phase], 0))),
    ),
  ]);
  console.log(
    `${flags.task} ${flags.model}, 4 × 256 tokens, ${flags.threads} threads, smallest of ${flags.processes} processes, seconds`,
  );
  console.log(renderMarkdown([['compiled', ...PHASES.slice(0, 4), 'compile', 'first run', 'later run'], ...rows]));
}

function row(name: string, of: (phase: keyof Phases) => number): string[] {
  const values = PHASES.map(of);
  const compile = values.slice(0, 4).reduce((a, b) => a + b, 0);
  return [name, ...[...values.slice(0, 4), compile, ...values.slice(4)].map((seconds) => seconds.toFixed(3))];
}

function inNewProcess(): Report {
  const args = [...process.execArgv, process.argv[1]!, ...process.argv.slice(2), '--child'];
  const { status, stdout } = spawnSync(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) throw new Error('a measured process failed; its message is above');
  return JSON.parse(stdout.toString().trim().split('\n').at(-1)!) as Report;
}

async function measure(): Promise<Report> {
  const config = MODEL_CONFIGS[flags.model as ModelName];
  const clock = timed(onnxruntimeEngine({ threads: Number(flags.threads) }));
  // A model computes on the engine that was set when it was made.
  setEngine(clock.engine);
  const model = await randomModel(config);
  await Promise.all(Object.values(model.weights).map((weight) => weight.data()));
  const settings = { learningRate: 1e-4, rows: randomTokens(4, 256, config.vocab_size) };
  const once = async () => {
    const trainer = flags.task === 'sft' ? (await loraTrainer(model, 16)).trainer : await fullTrainer(model);
    const step = trainerStep(trainer, settings);
    const graphs = clock.restart();
    for (let i = 0; i < 3; i++) await step();
    return graphs;
  };
  return { first: await once(), second: await once() };
}

/** An engine that notes when each phase of a compilation ends. */
function timed(inner: Engine): { engine: Engine; restart(): CompiledGraph[] } {
  let graphs: CompiledGraph[] = [];
  let last = performance.now();
  /** Seconds since the last call of it. */
  const lap = () => {
    const now = performance.now();
    const seconds = (now - last) / 1000;
    last = now;
    return seconds;
  };
  let traced: number | undefined;
  const compile: Engine['compile'] = async (graph, options) => {
    const [trace, simplify] = [traced ?? 0, lap()];
    traced = undefined;
    // The engine does it once more; by then it is warm, which is what has to come off its time.
    const lowered = () => encodeModel(lowerGraph(graph).onnx);
    lowered();
    const lower = lap();
    lowered();
    const again = lap();
    const executable = await inner.compile(graph, options);
    const session = Math.max(0, lap() - again);
    const times: CompiledGraph = {
      ...{ nodes: graph.nodes.length, trace, simplify, lower, session, firstRun: 0, laterRun: 0 },
    };
    graphs.push(times);
    let runs = 0;
    const run: Executable['run'] = async (inputs) => {
      lap();
      const outputs = await executable.run(inputs);
      times[runs++ === 0 ? 'firstRun' : 'laterRun'] = lap();
      return outputs;
    };
    return { run, dispose: () => executable.dispose() };
  };
  const engine = Object.create(inner, {
    compile: { value: compile },
    kernels: {
      // Asked for first when the trace is done and its graph is to be simplified.
      get: () => {
        traced ??= lap();
        return inner.kernels;
      },
    },
  }) as Engine;
  const restart = () => {
    lap();
    graphs = [];
    return graphs;
  };
  return { engine, restart };
}
