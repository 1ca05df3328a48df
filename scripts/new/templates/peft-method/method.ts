import { ones } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import type { Read } from '@posttrain/interfaces';
import type { NormLayer } from '@posttrain/lm';
import { excludeOption, matchTargets, methodOptions, NO_PLAN, type PeftMethod, targetOptions } from '@posttrain/peft';

const myMethodOptions = methodOptions('MY_METHOD', {
  /** Normalisations that get a gain: paths, dotted endings or a regular expression. Default: null, all of them. */
  targetModules: targetOptions.targetModules,
  ...excludeOption,
});
/** Options of `myMethod`, complete, by PEFT's names in camel case. */
export type MyMethodConfig = Read<typeof myMethodOptions>;

/** Every normalisation, where the options say nothing else. */
const ALL = ['input_layernorm', 'post_attention_layernorm', 'norm'];
const DEFAULTS = { llama: ALL, mistral: ALL, qwen2: ALL, qwen3: ALL, gpt2: ['ln_1', 'ln_2', 'ln_f'] };

/** Learned gains behind normalisations (arXiv 0000.00000, eq. 0): y = g ⊙ norm(x) with g [width], of which all are 1 at the start. */
export const myMethod: PeftMethod<MyMethodConfig> = {
  peftType: 'MY_METHOD',
  options: myMethodOptions,
  fileDefaults: {},

  plan(model, given, strictness) {
    const norms = model.network.norms.values();
    const { matched, skipped, targetModules } = matchTargets(
      norms,
      model.config.modelType,
      given,
      strictness,
      DEFAULTS,
    );
    return { config: { ...given, targetModules }, plan: { ...NO_PLAN, norms: matched }, skipped };
  },

  init({ plan, model }) {
    const trained: Named = Object.fromEntries(plan.norms.map((norm) => [keyOf(norm), ones([model.hiddenSize])]));
    return { trained, frozen: {} };
  },

  hooks: (_, { trained }) => ({
    norm(x, layer: NormLayer) {
      const gain = trained[keyOf(layer)];
      return gain ? layer.apply(x).mul(gain) : layer.apply(x);
    },
  }),

  merge({ plan }, { trained }, base) {
    const merged = plan.norms.flatMap((norm) =>
      (norm.hasBias ? ['weight', 'bias'] : ['weight']).map((part) => {
        const name = `${norm.name}.${part}`;
        return [name, base.weights[name]!.mul(trained[keyOf(norm)]!)] as const;
      }),
    );
    return Object.fromEntries(merged);
  },
};

const keyOf = ({ name }: { readonly name: string }): string => `${name}.my_method_gain`;
