import { complexArithmetic } from './algebra/complex-arithmetic.js';
import { linearSystem } from './algebra/linear-system.js';
import { numberSequence } from './algebra/number-sequence.js';
import { polynomialDerivative } from './algebra/polynomial-derivative.js';
import { polynomialMultiplication } from './algebra/polynomial-multiplication.js';
import { polynomialRoots } from './algebra/polynomial-roots.js';
import { simpleEquations } from './algebra/simple-equations.js';
import { brackets } from './code/brackets.js';
import { brainfuck } from './code/brainfuck.js';
import { loopProgram } from './code/loop-program.js';
import { stackMachine } from './code/stack-machine.js';
import { futoshiki } from './games/futoshiki.js';
import { jugs } from './games/jugs.js';
import { kakurasu } from './games/kakurasu.js';
import { miniSudoku } from './games/mini-sudoku.js';
import { nQueens } from './games/n-queens.js';
import { puzzle24 } from './games/puzzle-24.js';
import { survo } from './games/survo.js';
import { towerOfHanoi } from './games/tower-of-hanoi.js';
import { components } from './graphs/components.js';
import { courseSchedule } from './graphs/course-schedule.js';
import { graphColor } from './graphs/graph-color.js';
import { quantumLock } from './graphs/quantum-lock.js';
import { topologicalOrder } from './graphs/topological-order.js';
import { weightedPath } from './graphs/weighted-path.js';
import { binaryMatrix } from './grids/binary-matrix.js';
import { gameOfLife } from './grids/game-of-life.js';
import { largestIsland } from './grids/largest-island.js';
import { minPathSum } from './grids/min-path-sum.js';
import { poolMatrix } from './grids/pool-matrix.js';
import { rotateMatrix } from './grids/rotate-matrix.js';
import { rottenOranges } from './grids/rotten-oranges.js';
import { shortestPath } from './grids/shortest-path.js';
import { spiralMatrix } from './grids/spiral-matrix.js';
import { acrostic } from './instructions/acrostic.js';
import { followEdits } from './instructions/follow-edits.js';
import { jsonObject } from './instructions/json-object.js';
import { keywordText } from './instructions/keyword-text.js';
import { circuitLogic } from './logic/circuit-logic.js';
import { countModels } from './logic/count-models.js';
import { knightsKnaves } from './logic/knights-knaves.js';
import { ordering } from './logic/ordering.js';
import { syllogism } from './logic/syllogism.js';
import { baseConversion } from './numbers/base-conversion.js';
import { calendar } from './numbers/calendar.js';
import { chainSum } from './numbers/chain-sum.js';
import { countBits } from './numbers/count-bits.js';
import { countPrimes } from './numbers/count-primes.js';
import { fractionSimplification } from './numbers/fraction-simplification.js';
import { gcd } from './numbers/gcd.js';
import { lcm } from './numbers/lcm.js';
import { modularPower } from './numbers/modular-power.js';
import { primeFactorization } from './numbers/prime-factorization.js';
import { timeIntervals } from './numbers/time-intervals.js';
import { abRewriting } from './strings/ab-rewriting.js';
import { binaryAlternation } from './strings/binary-alternation.js';
import { caesarCipher } from './strings/caesar-cipher.js';
import { editDistance } from './strings/edit-distance.js';
import { groupAnagrams } from './strings/group-anagrams.js';
import { isomorphicStrings } from './strings/isomorphic-strings.js';
import { letterCounting } from './strings/letter-counting.js';
import { palindromeGeneration } from './strings/palindrome-generation.js';
import { ransomNote } from './strings/ransom-note.js';
import { wordSequenceReversal } from './strings/word-sequence-reversal.js';
import { wordSorting } from './strings/word-sorting.js';

/** All tasks of reasoning-gym's protocol here, each a function of its difficulty: `taskRows(reasoningTasks.gcd({ level: 2 }), …)`. */
export const reasoningTasks = {
  // algebra
  complexArithmetic,
  linearSystem,
  numberSequence,
  polynomialDerivative,
  polynomialMultiplication,
  polynomialRoots,
  simpleEquations,
  // code
  brackets,
  brainfuck,
  loopProgram,
  stackMachine,
  // games
  futoshiki,
  jugs,
  kakurasu,
  miniSudoku,
  nQueens,
  puzzle24,
  survo,
  towerOfHanoi,
  // graphs
  components,
  courseSchedule,
  graphColor,
  quantumLock,
  topologicalOrder,
  weightedPath,
  // grids
  binaryMatrix,
  gameOfLife,
  largestIsland,
  minPathSum,
  poolMatrix,
  rotateMatrix,
  rottenOranges,
  shortestPath,
  spiralMatrix,
  // instructions
  acrostic,
  followEdits,
  jsonObject,
  keywordText,
  // logic
  circuitLogic,
  countModels,
  knightsKnaves,
  ordering,
  syllogism,
  // numbers
  baseConversion,
  calendar,
  chainSum,
  countBits,
  countPrimes,
  fractionSimplification,
  gcd,
  lcm,
  modularPower,
  primeFactorization,
  timeIntervals,
  // strings
  abRewriting,
  binaryAlternation,
  caesarCipher,
  editDistance,
  groupAnagrams,
  isomorphicStrings,
  letterCounting,
  palindromeGeneration,
  ransomNote,
  wordSequenceReversal,
  wordSorting,
} as const;
