import type { ReadTensorOptions, TensorData, TensorInfo, TensorSource, TensorToWrite } from '@posttrain/core-tensor/io';
import type { ModelConfig } from '../config/index.js';

/** A parameter of one expert as a part of a tensor with those of all. */
interface Member {
  readonly name: string;
  readonly expert: number;
  /** Its outputs among those of an expert in the tensor: the first, how far the next is, and how many. */
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/** A tensor with a parameter of every expert, [experts, out, in], [experts, in, out] or, of biases, [experts, out]. */
interface Fused {
  readonly name: string;
  readonly shape: readonly [experts: number, ...number[]];
  /** How many outputs an expert has in it. */
  readonly outputs: number;
  readonly transposed: boolean;
  readonly members: readonly Member[];
}

/** Every tensor of a family's files that has the parameters of all experts of a layer. */
function fusedTensors(config: ModelConfig): Fused[] {
  if (!('names' in config) || !config.experts || !config.names.experts?.fused) return [];
  const { experts, names, hiddenSize: width } = config;
  const { module, gate, up, down, fused } = config.names.experts;
  const { count, intermediateSize: inner } = experts;
  const { transposed, interleaved } = fused;
  const layers = experts.sparseLayers.flatMap((isSparse, layer) => (isSparse ? [layer] : []));
  return layers.flatMap((layer) => {
    const place = `${names.blocks}.${layer}.${module}`;
    const membersOf = (part: string, projections: readonly string[], size: number): Member[] =>
      Array.from({ length: count }, (_, expert) =>
        projections.map((projection, i): Member => {
          const name = `${place}.experts.${expert}.${projection}.${part}`;
          const many = projections.length;
          return interleaved && many > 1
            ? { name, expert, start: i, step: many, count: size }
            : { name, expert, start: i * size, step: 1, count: size };
        }),
      ).flat();
    const weights = (name: string, projections: readonly string[], out: number, inputs: number): Fused => {
      const outputs = out * projections.length;
      const shape = transposed ? ([count, inputs, outputs] as const) : ([count, outputs, inputs] as const);
      return {
        ...{ name: `${place}.${name}`, shape, outputs, transposed },
        members: membersOf('weight', projections, out),
      };
    };
    const biases = (name: string | undefined, projections: readonly string[], out: number): Fused[] => {
      if (name === undefined) return [];
      const outputs = out * projections.length;
      const members = membersOf('bias', projections, out);
      return [{ name: `${place}.${name}`, shape: [count, outputs], outputs, transposed: false, members }];
    };
    return [
      weights(fused.gateUp, [gate, up], inner, width),
      weights(fused.down, [down], width, inner),
      ...biases(fused.gateUpBias, [gate, up], inner),
      ...biases(fused.downBias, [down], width),
    ];
  });
}

/** Calls with every element of a member: its place in itself, and in the part of its expert. */
function forEachElement(
  { outputs, shape, transposed }: Fused,
  { start, step, count }: Member,
  call: (own: number, inFused: number) => void,
): void {
  const inputs = shape.slice(1).reduce((a, b) => a * b, 1) / outputs;
  for (let row = 0; row < count; row++) {
    const output = start + row * step;
    for (let column = 0; column < inputs; column++) {
      call(row * inputs + column, transposed ? column * outputs + output : output * inputs + column);
    }
  }
}

const memberShape = ({ outputs, shape }: Fused, { count }: Member): number[] =>
  shape.length === 2 ? [count] : [count, shape.slice(1).reduce((a, b) => a * b, 1) / outputs];

/** A source with the parameters of each expert apart, where it has them in one tensor; others are as they are. */
export function splitExperts(source: TensorSource, config: ModelConfig): TensorSource {
  const found = fusedTensors(config).filter(({ name, shape }) => `${source.tensors.get(name)?.shape}` === `${shape}`);
  if (found.length === 0) return source;
  const members = new Map(found.flatMap((fused) => fused.members.map((member) => [member.name, { fused, member }])));
  const tensors = new Map(source.tensors);
  for (const { name } of found) tensors.delete(name);
  for (const [name, { fused, member }] of members) {
    const info = source.tensors.get(fused.name)!;
    const shape = memberShape(fused, member);
    const share = shape.reduce((a, b) => a * b, 1) / fused.shape.reduce((a, b) => a * b, 1);
    tensors.set(name, { ...info, name, shape, byteLength: info.byteLength * share } satisfies TensorInfo);
  }
  return {
    path: source.path,
    tensors,
    async read(name: string, options?: ReadTensorOptions): Promise<TensorData> {
      const one = members.get(name);
      if (!one) return source.read(name, options);
      const { fused, member } = one;
      const each = fused.shape.slice(1).reduce((a, b) => a * b, 1);
      const range = [member.expert * each, (member.expert + 1) * each] as const;
      const whole = await source.read(fused.name, { ...options, range });
      const shape = memberShape(fused, member);
      const data = whole.data.slice(
        0,
        shape.reduce((a, b) => a * b, 1),
      );
      forEachElement(fused, member, (own, inFused) => {
        data[own] = whole.data[inFused]!;
      });
      return { ...whole, shape, data } as TensorData;
    },
    close: () => source.close(),
  };
}

const FLOATS: readonly string[] = ['float32', 'float16', 'bfloat16'];

/** The inverse, of what is written. Where some experts of a layer are quantised, they stay apart. */
export function fuseExperts(tensors: readonly TensorToWrite[], config: ModelConfig): TensorToWrite[] {
  const given = new Map(tensors.map((one) => [one.name, one]));
  const isFloat = (fused: Fused, member: Member) => {
    const one = given.get(member.name);
    // Codes of int8 have the shape of a weight, too.
    const isCodes = one === undefined || !FLOATS.includes(one.dtype);
    return !isCodes && `${one.shape}` === `${memberShape(fused, member)}`;
  };
  const isWhole = (fused: Fused) =>
    fused.members.every((member) => isFloat(fused, member)) &&
    new Set(fused.members.map(({ name }) => given.get(name)!.dtype)).size === 1;
  const whole = fusedTensors(config).filter(isWhole);
  const inside = new Set(whole.flatMap(({ members }) => members.map(({ name }) => name)));
  const written = whole.map((fused): TensorToWrite => {
    const { name, shape, members } = fused;
    const size = shape.reduce((a, b) => a * b, 1);
    return {
      ...given.get(members[0]!.name)!,
      ...{ name, shape },
      async data() {
        let all: Float32Array | Uint16Array | undefined;
        for (const member of members) {
          const { data } = given.get(member.name)!;
          const own = (await (typeof data === 'function' ? data() : data)) as Float32Array | Uint16Array;
          all ??= own instanceof Uint16Array ? new Uint16Array(size) : new Float32Array(size);
          const base = (member.expert * size) / shape[0];
          forEachElement(fused, member, (at, inFused) => {
            all![base + inFused] = own[at]!;
          });
        }
        return all!;
      },
    };
  });
  return [...tensors.filter(({ name }) => !inside.has(name)), ...written];
}
