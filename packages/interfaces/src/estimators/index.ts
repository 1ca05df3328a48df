/** What strategies over k samples reach, estimated without bias from n ≥ k samples of a problem: for curves and for grades. */
export {
  type AnswerGroup,
  bestOfK,
  binomial,
  EstimatorError,
  MOST_SAMPLES,
  majorityOfK,
  passAtK,
  type RankedSample,
} from './subsets.js';
export { wilsonBounds } from './wilson.js';
