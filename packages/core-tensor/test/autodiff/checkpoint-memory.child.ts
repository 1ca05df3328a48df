import { readFileSync, writeFileSync } from 'node:fs';
import { checkpoint, compile, grad, leavesOf, realize, setEngine, type Tensor, tensor } from '../../src/index.js';
import { onnxruntimeEngine } from '../../src/onnxruntime.js';
import { clipByGlobalNorm } from '../../src/optim/index.js';

/*
 * Prints how many bytes the peak of one step of a chain of layers stands above what the process held before. Arguments: `plain` or
 * `checkpoint`; `forwards` or `backwards`, the order in which the norms of the layers' gradients are summed.
 */
const [mode, order] = process.argv.slice(2);
const [rows, width, hidden, layers] = [4096, 64, 512, 24];

setEngine(onnxruntimeEngine({ threads: 1 }));
const weight = (shape: [number, number], scale: number) =>
  tensor(
    Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => scale * Math.sin(i)),
    shape,
  );
const parameters = Array.from({ length: layers }, () => ({
  up: weight([width, hidden], 0.1),
  down: weight([hidden, width], 0.1),
}));
const layer = (p: { up: Tensor; down: Tensor }, x: Tensor) => x.add(x.matmul(p.up).tanh().matmul(p.down));
const apply = mode === 'checkpoint' ? checkpoint(layer) : layer;

const step = compile((all: typeof parameters, x: Tensor) => {
  const loss = (ps: typeof parameters) =>
    ps
      .reduce((h, p) => apply(p, h), x)
      .square()
      .mean();
  const gradients = leavesOf(grad(loss)(all)).map(({ path, tensor: g }) => [path, g] as const);
  return clipByGlobalNorm(Object.fromEntries(order === 'forwards' ? gradients : gradients.reverse()), 1);
});
await step(parameters, weight([1, width], 1));
const x = weight([rows, width], 1);
await realize([x]);
// The peak of loading is higher than that of the step, and is forgotten where the system lets it.
let highWaterMark = (): number => process.resourceUsage().maxRSS;
try {
  writeFileSync('/proc/self/clear_refs', '5');
  highWaterMark = () => Number(/^VmHWM:\s*(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
} catch {}
const peak = () => highWaterMark() * 1024;
const before = peak();
await step(parameters, x);
const growth = peak() - before;
console.log(JSON.stringify({ hiddenBytes: rows * hidden * 4, layers, growth }));
