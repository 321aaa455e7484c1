# SPDX-License-Identifier: Apache-2.0
# Compiles ${ASL} with ${IASL} into ${OUT}/dsdt.h; silent unless it fails. -we: warnings are errors.
execute_process(
  COMMAND ${IASL} -we -vs -tc -p ${OUT}/dsdt ${ASL}
  OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${output}")
endif()
file(RENAME ${OUT}/dsdt.hex ${OUT}/dsdt.h)
