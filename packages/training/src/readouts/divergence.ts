import { concat, logSumExp, softplus, type Tensor, tokenLogProbs } from '@posttrain/core-tensor';
import { OptionError, PosttrainError } from '@posttrain/interfaces';
import type { LayerHooks, Weights } from '@posttrain/lm';
import type { Readout } from '../loss/loss.js';
import type { TrainableNetwork } from '../loss/trainable-network.js';
import { logProbsOf } from './log-probs-of.js';
import { predictionLayer } from './prediction-layer.js';
import { predictions } from './predictions.js';
import { sumOverVocabulary } from './vocabulary.js';

/** A teacher that is run beside the student, on the same tokens; it gets no gradient. */
export interface TeacherModel {
  readonly network: TrainableNetwork;
  readonly weights: Weights;
  /** Of an adapter, as it is. Default: none. */
  readonly hooks?: LayerHooks;
}

/** A teacher as annotations of the rows: its k most likely tokens at every prediction, and log p of each. */
export interface TopKTeacher {
  readonly k: number;
  /** The annotation with the token ids. Default `teacher_ids`. */
  readonly ids?: string;
  /** The annotation with the log-probabilities, at the temperature of the divergence. Default `teacher_log_probs`. */
  readonly logProbs?: string;
  /**
   * What stands for the other tokens: `tail`, one more outcome with the probability that is left, whose divergence is never more
   * than that of the whole distributions; or `renormalize`, none, and the k tokens' probabilities are made to add up to 1.
   * Default `tail`.
   */
  readonly rest?: 'tail' | 'renormalize';
}

/** Options of the readout `divergence`. */
export interface DivergenceOptions {
  readonly teacher: TeacherModel | TopKTeacher;
  /** 0: KL(teacher ‖ student). 1: KL(student ‖ teacher). Between: the generalised Jensen-Shannon divergence. Default 0.5. */
  readonly beta?: number;
  /** Divides the logits of both before the softmax. Default 1. */
  readonly temperature?: number;
  /** Vocabulary entries whose logits exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  readonly chunkSize?: number;
}

/** What every outcome adds to the divergence, of log-probabilities of one shape. */
function termsOf(teacher: Tensor, student: Tensor, beta: number): Tensor {
  if (beta === 0) return teacher.exp().mul(teacher.sub(student));
  if (beta === 1) return student.exp().mul(student.sub(teacher));
  const own = student.add(Math.log(1 - beta));
  const mixture = own.add(softplus(teacher.add(Math.log(beta)).sub(own)));
  const ofTeacher = teacher.exp().mul(teacher.sub(mixture));
  return ofTeacher.mul(beta).add(
    student
      .exp()
      .mul(student.sub(mixture))
      .mul(1 - beta),
  );
}

/** The smallest probability of a tail, of which rounding leaves nothing. */
const SMALLEST_TAIL = 1e-30;

function outcomes(logProbs: Tensor, rest: 'tail' | 'renormalize'): Tensor {
  if (rest === 'renormalize') return logProbs.sub(logSumExp(logProbs));
  const left = logProbs.exp().sum(2, { keepDims: true }).neg().add(1);
  return concat([logProbs, left.maximum(SMALLEST_TAIL).log()], 2);
}

/**
 * How far the student's distribution is from a teacher's at every prediction, [b, s - 1], in nats. With m = β t + (1 - β) s it
 * is the generalised Jensen-Shannon divergence β KL(t ‖ m) + (1 - β) KL(s ‖ m) of GKD (arXiv 2306.13649, eq. 1), and KL(t ‖ s) and
 * KL(s ‖ t) at its ends, as in TRL. Over the whole vocabulary with a teacher model, whose logits, as the student's, exist for a chunk
 * of it at a time; over k + 1 outcomes with a top-k teacher.
 *
 * @throws OptionError for a β outside 0 to 1; PosttrainError TEACHER_VOCABULARY where the two have different vocabularies
 */
export function divergence({ teacher, beta = 0.5, temperature = 1, chunkSize }: DivergenceOptions): Readout<Tensor> {
  if (!(beta >= 0 && beta <= 1)) {
    throw new OptionError('INVALID_OPTION', 'divergence', 'beta', `beta is ${beta}; it must be 0 to 1.`);
  }
  const chunks = chunkSize === undefined ? {} : { chunkSize };
  return 'network' in teacher
    ? toTeacherModel(teacher, { beta, temperature, ...chunks })
    : toTopKTeacher(teacher, { beta, temperature, ...chunks });
}

type Settings = Pick<DivergenceOptions, 'chunkSize'> & { readonly beta: number; readonly temperature: number };

function toTopKTeacher(teacher: TopKTeacher, { beta, ...settings }: Settings): Readout<Tensor> {
  const { k, ids = 'teacher_ids', logProbs = 'teacher_log_probs', rest = 'tail' } = teacher;
  const ofStudent = logProbsOf({ ids, k, ...settings });
  return {
    name: 'divergence(top-k)',
    per: 'prediction',
    annotations: [...ofStudent.annotations!, { name: logProbs, per: 'prediction', width: k }],
    compute: ({ read, batch }) =>
      termsOf(outcomes(batch.annotations[logProbs]!, rest), outcomes(read(ofStudent), rest), beta).sum(2),
  };
}

function toTeacherModel(teacher: TeacherModel, { beta, temperature, chunkSize }: Settings): Readout<Tensor> {
  return {
    name: 'divergence',
    per: 'prediction',
    compute(pass) {
      const { network, weights, hooks = {} } = teacher;
      const { tokens } = pass.batch;
      const [b, s] = tokens.shape as [number, number];
      const hidden = network.hidden(weights, pass.batch, hooks);
      const layers = [
        predictionLayer({ network, weights, hooks, hidden }, temperature),
        predictionLayer(pass, temperature),
      ];
      const [taught, own] = layers.map(({ matrix }) => matrix.shape[0]!);
      if (taught !== own) {
        const problem = `the teacher has a vocabulary of ${taught} tokens and the student one of ${own}`;
        throw new PosttrainError('TEACHER_VOCABULARY', `${problem}; a divergence needs one for both`);
      }
      const { states, matrix, softCap } = layers[0]!;
      const targets = tokens.slice(1, 1).reshape([b * (s - 1)]);
      const sums = [
        tokenLogProbs(states, matrix, targets, { temperature, softCap }).logSumExps.expandDims(1),
        pass.read(predictions({ temperature })).logSumExps.reshape([b * (s - 1), 1]),
      ];
      const total = sumOverVocabulary(
        layers,
        (logits) => {
          const [ofTeacher, ofStudent] = logits.map((z, i) => z.sub(sums[i]!));
          return termsOf(ofTeacher!, ofStudent!, beta).sum(1);
        },
        chunkSize,
      );
      return total.reshape([b, s - 1]);
    },
  };
}
