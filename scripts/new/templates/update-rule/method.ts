import { compile, perEngine, scalar, type Tensor, zerosBuffer } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, number, options } from '@posttrain/interfaces';
import { type UpdateRule, UpdateRuleError } from '@posttrain/training';

const myMethodOptions = options('myMethod', {
  /** β, what is left of the earlier gradients. Default 0.9. */
  beta: number({ default: 0.9, min: 0, below: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

const added = perEngine(() =>
  compile(
    (state: Named, gradients: Named, beta: Tensor): Named =>
      mapNamed(gradients, (g, name) => state[name]!.mul(beta).add(g)),
    { name: 'myMethod' },
  ),
);

/**
 * Heavy-ball momentum before any optimizer (arXiv 0000.00000, algorithm 0): m ← β m + g, which the optimizer takes for its gradient. m is
 * its state, by parameter.
 *
 * @throws OptionError; what `Trainer.gradients` and `optimStep` throw
 */
export function myMethod(given: MyMethodOptions = {}): UpdateRule {
  const { beta } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    init: (variables) => mapNamed(variables, ({ shape }) => zerosBuffer(shape)),
    async update(trainer, rows, loss, { learningRate, ...inputs }, state) {
      if (!state)
        throw new UpdateRuleError('my-method', trainer.step, 'call it by updateByRule, which holds its state.');
      const { gradients, ...result } = await trainer.gradients(rows, loss, inputs);
      const momentum = await added(trainer.model.network.engine)(state, gradients, scalar(beta));
      const { gradNorm } = await trainer.optimStep({ learningRate, gradients: momentum });
      return { ...result, gradNorm, state: momentum };
    },
  };
}
