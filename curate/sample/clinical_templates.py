"""Sentence templates of the clinical documents: section -> (how often it stands, templates, fewest and most sentences).

A section whose name begins with `_` has no heading. See grammar.py for the brackets.
"""

Section = tuple[float, list[str], int, int]

NOTE: dict[str, Section] = {
    "Chief complaint": (
        0.8,
        [
            "{symptom} {since}.",
            "[{title} {surname} came in|The patient attended] [because of|for|with] {symptom} {since}.",
            "[Follow up|Review|Repeat visit] for {condition}, [with|now with] {symptom}.",
            "[Referred|Sent] by [Dr.|the practice of Dr.] {doctor} for [advice on|assessment of] {symptom}.",
        ],
        1,
        1,
    ),
    "History of present illness": (
        1.0,
        [
            "{title} {surname} is a {age} year old {job} [who|who lives with {his} {partner} and] [has "
            "noticed|describes|reports] {symptom} {since}.",
            "[At first|Initially|In the beginning] {he} [blamed|put this down to] [overwork|the weather|a bad "
            "night|poor sleep|{hobby}], [but then|until|and only later] {symptom} [appeared|set in|became hard to "
            "ignore].",
            "[It is|Things are] [worse|at their worst] [in the evening|on waking|after meals|at the end of a shift|on "
            "{day}s] and [better|eased] [with rest|at weekends|after a warm drink|by sitting down|when {he} is "
            "occupied with {hobby}].",
            "{his} {partner} [adds|tells us|confirms] that [there was|{he} also had] {symptom} [last {month}|twice "
            "this week|on {day}|during a trip in {month}].",
            "There [is|has been] no [fever|weight loss|recent travel|injury|blood loss|night sweats|loss of "
            "consciousness] and [no change in|nothing unusual about] [appetite|bowel habit|sleep|vision|bladder "
            "control|mood].",
            "[The trouble|This] [stops|keeps] {him} from {hobby}, which {he} [used to do|had done] every {day}.",
            "[On direct questioning|When asked|On reflection] {he} [also mentions|admits to|remembers] {symptom} and "
            "[perhaps|sometimes] {symptom}.",
            "[Two|Three|Four] [doses|tablets|days] of [an over the counter remedy|a neighbor's medicine|herbal "
            "tea|leftover tablets] [brought no relief|helped a little|made no difference|upset {his} stomach].",
            "{he} [rates|scores] the [trouble|complaint] {2-9} out of 10 [today|at its worst|on most mornings] and "
            "[worries|fears] it [may be|could turn into] {complication}.",
        ],
        4,
        7,
    ),
    "Past medical history": (
        0.9,
        [
            "{condition} was [diagnosed|found|first treated] in {1988-2023} [after|when] a "
            "[routine|work|hospital|travel] [check|screening|blood test|examination] [showed|raised the suspicion|was "
            "abnormal].",
            "{he} [also has|is known to have] {other_condition}, [well controlled|treated|stable for {number} years] "
            "on {other_drug}.",
            "[An appendectomy|A hernia repair|Cataract surgery|A knee arthroscopy|A fractured ankle|A tonsillectomy] "
            "in {1975-2020} [healed|went] without [trouble|incident|complications].",
            "[Risk factors|Contributing factors] [include|are] {risk} and {risk}.",
            "[No|There are no] known [drug allergies|allergies to medicines|reactions to medicines], [though|but] "
            "[plasters|strawberries|wool|shellfish|latex gloves|bee stings] [bring {him} out in a rash|cause "
            "itching|are avoided].",
        ],
        2,
        4,
    ),
    "Medications": (
        0.9,
        [
            "{drug} {dose}, a {family}, [started|begun|restarted] in {month}.",
            "{other_drug} {other_dose} [for|against] {other_condition}, [taken|used] [reliably|most days|without "
            "missing a dose].",
            "[The tablets come in a weekly box|{his} {partner} fills the pill box|{he} keeps a written list|The "
            "pharmacy delivers each {day}].",
            "{he} [stopped|gave up] [fish oil|a sleeping aid|a herbal tonic|glucosamine|magnesium] [in|around] "
            "{month}.",
        ],
        2,
        3,
    ),
    "Social history": (
        0.6,
        [
            "[Works as|Earns a living as] a {job} and [enjoys|spends free time on] {hobby} and {hobby}.",
            "[Never smoked|Stopped smoking in {1990-2022}|Smokes {2-20} cigarettes a day] and drinks [no "
            "alcohol|{number} glasses of wine a week|beer at weekends|only at weddings].",
            "Lives [alone|with {his} {partner}] [on the {2-9}th floor|in a terraced house|on a farm|near the "
            "harbor|above the shop] and [manages|does] the [shopping|stairs|cooking|laundry] [unaided|with some "
            "help|slowly].",
        ],
        1,
        3,
    ),
    "Examination": (
        1.0,
        [
            "[Blood pressure was|The cuff showed] {104-168} over {58-98}, [pulse|heart rate] {54-104} and [oxygen "
            "saturation|saturation on air] {91-99} percent.",
            "[Weight|Body weight] [was|is] {49-118} kg, [up|down] {1-6} kg [since|from] [the last visit|{month}|the "
            "spring].",
            "[There was|We found|Examination showed] {sign} and {sign}.",
            "The [heart sounds were normal|lungs were clear|abdomen was soft|cranial nerves were intact|skin was "
            "otherwise clear|throat was not inflamed], [and|while] [the lymph nodes were not enlarged|the gait was "
            "steady|reflexes were symmetrical|there was no edema|{he} was alert and oriented].",
            "{he} [looked|appeared] [well|tired|comfortable at rest|a little anxious|pale] and [walked in "
            "unaided|spoke in full sentences|answered every question|leaned on {his} {partner}].",
            "[Notably|Of note], {sign} [was new|had not been noted in {month}|was more marked than before|was "
            "unchanged].",
        ],
        3,
        5,
    ),
    "Results": (
        0.8,
        [
            "[The|Today's] {test} [gave|showed|came back as] {result}[, in line with {condition}|, as expected in "
            "{condition}|].",
            "Hemoglobin [was|measured] {98-158} g per L, [creatinine|serum creatinine] {52-148} micromol per L and "
            "sodium {129-146} mmol per L.",
            "[A chest film|An ultrasound scan|A repeat ECG|A dipstick test] [in {month}|last {day}] [was normal|added "
            "nothing|showed no change|did not alter the plan].",
            "[Liver tests|Inflammatory markers|Thyroid tests|Vitamin levels] were [within limits|slightly "
            "raised|unremarkable|unchanged since {month}].",
        ],
        2,
        3,
    ),
    "Assessment": (
        1.0,
        [
            "[The picture|All this|The history] [fits|is typical of|points to] {condition}, [mild|moderate|not yet "
            "controlled|likely long standing], [made worse by|on a background of] {risk}.",
            "[This is|We see] {condition} in a {man} of {age} [with|who also has] {other_condition}.",
            "{symptom} [may|could|might] [be|also be] [unrelated to {drug}, which is known to cause "
            "{effect}|explained by {risk}|part of {other_condition}].",
            "[Without treatment|If nothing changes|In the long run] the [main|chief] [risks|dangers] are "
            "{complication} and {complication}.",
        ],
        2,
        3,
    ),
    "Plan": (
        1.0,
        [
            "[Start|Continue|Increase] {drug}, [a|the] {family} [used|given] for {condition}, [at|to] {dose}.",
            "[Check|Monitor|Repeat] {monitor} in {number} [weeks|months], [since|because] {drug} [requires it|can "
            "disturb it|makes this necessary].",
            "[We warned {him} about|{he} was told to look out for|The leaflet mentions] {effect} and {effect}[ with "
            "{drug}| from {drug}|], [and {he} will call if they occur|which {he} accepts|though both often pass].",
            "[We advised|Recommended were|{he} agreed to try] {advice} and {advice}.",
            "[Review|Return] on a {day} in {month}[, sooner should {symptom} return|, or earlier should {symptom} get "
            "worse|].",
            "[Referral|A letter] to {specialty} [was sent|has been dictated|went out today] [regarding|with a "
            "question about|because we are concerned about] {complication}.",
            "[The dose|Treatment] [must|should] not [go above|exceed] {high} {unit}.",
        ],
        4,
        6,
    ),
    "_Closing": (
        0.5,
        [
            "Dictated on {day} by Dr. {doctor} and [typed|signed|checked] [the same evening|next morning|after "
            "clinic].",
            "[Time spent|The visit took] {14-55} minutes, [more than half of it|most of it] [on counseling|on "
            "education|reviewing records].",
            "[A copy|This letter] [goes|was sent] to the patient and to [the practice|Dr. {doctor}|{specialty}].",
        ],
        1,
        2,
    ),
}

ABSTRACT: dict[str, Section] = {
    "_Title": (
        1.0,
        [
            "{drug} [against|versus] [placebo|usual care|{other_drug}|watchful waiting] in [adults|patients|older "
            "people] with {condition}: a [randomized|multicenter|double blind|pragmatic|crossover] trial.",
            "[Predictors|Early signs|Consequences] of {complication} in {condition}: a [cohort|registry|case "
            "control|population based] study.",
            "[Does|How often does] {drug} [cause {effect}|lead to {effect}]? [Findings|Evidence|Lessons] from "
            "{treated} [patients|people] with {condition}.",
            "[Long term|Early|Real world] [safety|effect|tolerability] of the {family} {drug} in {condition}.",
        ],
        1,
        1,
    ),
    "Background": (
        1.0,
        [
            "{condition} [is|remains] a [common|frequent|leading] [cause|source] of [disability|hospital "
            "admission|lost working days|poor health], and its most [feared|costly|serious] consequence [is|remains] "
            "{complication}.",
            "{drug} is a {family} [given|licensed|prescribed] for {condition}, [but|yet] [its long term effect|its "
            "place in older people|the best dose] [is|remains] [uncertain|debated|poorly studied].",
            "[Earlier|Previous|Smaller] [trials|studies] [by {author} and colleagues|from the {center}] "
            "[suggested|hinted] that {symptom} [will respond|may improve] [within weeks|slowly|only in some patients].",
            "[Few|Only a few] [studies|trials] [have asked|examined] whether {advice} [adds|brings anything] to "
            "[drug|medical] treatment.",
            "People with {risk} are [more likely|at higher risk] to develop {condition}, [though|but] the "
            "[mechanism|reason] is [unclear|disputed].",
        ],
        2,
        3,
    ),
    "Methods": (
        1.0,
        [
            "[We|Investigators at the {center}] [randomly assigned|allocated] {treated} "
            "[adults|participants|patients] with {condition} to {drug} {low} to {high} {unit} [or|and] {controls} to "
            "[placebo|usual care|{other_drug}] for {weeks} weeks.",
            "[Eligible|Included] [people|participants] [had|reported] {symptom} or {symptom} and a {test} "
            "[showing|of] {result}.",
            "The primary [outcome|end point] was [change in|time to|the rate of] {complication}[ at {weeks} weeks|], "
            "[assessed|judged] by [blinded raters|an independent committee|trained nurses].",
            "[Secondary outcomes|Further measures] [included|were] {symptom}, {monitor}, and [quality of life|days "
            "off work|hospital admissions|patient preference].",
            "[Analysis|The analysis] was by [intention to treat|mixed models|Cox regression|Poisson regression], "
            "[adjusted|stratified] for [age|center|sex and age|{risk}].",
            "[People|Patients] [taking|already on] {other_drug} for {other_condition} were [excluded|analyzed "
            "apart|allowed to continue].",
        ],
        3,
        4,
    ),
    "Results": (
        1.0,
        [
            "{symptom} [improved|resolved] in {percent} percent of those [given|taking] {drug} and in {fewer} percent "
            "of [controls|the comparison group] (p = {p}).",
            "The hazard ratio for {complication} was {hazard} (95 percent interval {interval}).",
            "[The most common|Frequent] adverse [effects|events] of {drug} were {effect}, {effect} and {effect}.",
            "[In all|Altogether], {3-48} [patients|participants] [left|dropped out] early, [mostly|chiefly] because "
            "of {effect}.",
            "[Benefit|The effect] was [greater|smaller] in [women|men|people over 70|those with {risk}|recent cases], "
            "[with|though with] wide intervals.",
            "Mean {test} [moved|changed] [by {2-19} percent|little|towards normal] [during|over] the [first {number} "
            "weeks|trial|follow up].",
            "[Laboratory checks|Safety visits] of {monitor} [led|prompted] [to a lower dose|dose changes] in {2-40} "
            "[patients|people].",
        ],
        3,
        5,
    ),
    "Conclusion": (
        1.0,
        [
            "{drug} [reduced|relieved|lessened] {symptom} in {condition} [at the cost of|but caused|with some] "
            "{effect}.",
            "[Doctors|Clinicians] who [prescribe|choose] {drug} [should|need to] [watch|check] {monitor} and "
            "[mention|explain] {effect}.",
            "[Larger|Longer|Independent] [trials|studies] [are needed|should follow] [before|to learn whether] "
            "{complication} [can be|is] [prevented|delayed].",
            "[Our findings|These data] [support|favor] {advice} [alongside|in addition to] the {family}.",
        ],
        1,
        3,
    ),
}

GUIDELINE: dict[str, Section] = {
    "_Opening": (
        1.0,
        [
            "This [section|guidance|chapter] [covers|deals with] {condition} in [adults|primary care|the outpatient "
            "clinic], [as seen in|from the view of] {specialty}.",
            "[Management of|Caring for people with] {condition} [rests on|begins with] [three|a few] "
            "[steps|questions], [set out|listed] below.",
            "{condition} is [looked after|managed] by {specialty} [in most|in many] [hospitals|regions], [together "
            "with|and] [family doctors|the district nurse|a pharmacist].",
        ],
        1,
        2,
    ),
    "Recognition": (
        1.0,
        [
            "[Suspect|Think of|Consider] {condition} [when|where] a person [reports|has] {symptom} or {symptom}, "
            "[above all|especially] [together with|in the presence of] {risk}.",
            "[On examination|When examining], [look for|note] {sign}, {sign} and, [less often|rarely], {sign}.",
            "{symptom} [alone|by itself] [will not|cannot] [prove|establish] the diagnosis[, since other causes are "
            "common|].",
            "[Ask|Inquire] about {risk}, {risk} and [any|recent] use of {other_drug}.",
        ],
        3,
        4,
    ),
    "Diagnosis": (
        1.0,
        [
            "[Confirm|Establish] the diagnosis [by|with] {test}; [typical is|one example is|a patient might show] "
            "{result}.",
            "[Do not delay|Never postpone|One need not hold back] treatment [while waiting|until results arrive] [if "
            "there is|given|on] any [hint|suspicion] of {complication}.",
            "[Repeat|Arrange] the {test} [after|within] {number} [weeks|months] [if|when] the [first|initial] result "
            "is [borderline|unclear|at odds with the history].",
        ],
        2,
        3,
    ),
    "Self care": (
        1.0,
        [
            "[Everyone|All patients] should [be offered|receive] advice on {advice}[ and {advice}|].",
            "[Written|Plain] [information|advice] [should|must] [mention|include] {advice}, and [say|explain] how to "
            "[reach|contact] the clinic.",
            "[Encourage|Suggest] {advice}; [small|gradual] changes [last longer|are kept up more often] than "
            "[large|sudden] ones.",
        ],
        2,
        2,
    ),
    "Treatment": (
        1.0,
        [
            "[Begin|Start] [drug treatment|medication] should {symptom} [persist|continue] [despite|after] {number} "
            "weeks of {advice}.",
            "[Choose|Select] [between|among] the [drugs|medicines] below [according to|by] [age|kidney function|other "
            "illnesses|preference|cost].",
            "[Agree|Set] a [goal|target] with the patient and [write it down|record it] [at the first visit|in the "
            "notes].",
        ],
        1,
        2,
    ),
    "Follow up": (
        1.0,
        [
            "[See|Review|Recall] [the patient|people|everybody] [after|within] {number} weeks and then every {number} "
            "months.",
            "[At each visit|Each time], [ask about|check for] {symptom} and [signs|hints] of {complication}.",
            "[Refer|Send] to {specialty} in case of {complication}, or [if|where] [two|several] [drugs|treatments] "
            "have [failed|not been tolerated].",
            "[Stop|Withdraw] treatment [slowly|in steps] [once|when] the patient has been [well|free of {symptom}] "
            "for {number} months.",
        ],
        2,
        4,
    ),
}

GUIDELINE_DRUG = [
    "{drug} is a {family} for {condition}.",
    "[Give {drug} at|The dose of {drug} is|Prescribe {drug} as] {low} to {high} {unit}.",
    "[Begin|Start] {drug} at {low} and [do not go|never go|stop short of going] [above|beyond] {high} {unit}[, lower "
    "in frail people|, less in kidney disease|].",
    "[Common|Expected] adverse effects [of|with] {drug} are {effect}, {effect} and {effect}.",
    "[While|As long as|Whenever] [a patient|someone|a person] [takes|is on] {drug}, [check|monitor] {monitor} every "
    "{number} [weeks|months].",
    "[Take care|Caution is needed] when {drug} is [combined with|added to] {other_drug}[, used in {other_condition}|].",
    "The {family} {drug} is taken {frequency}[ with food| with a glass of water| at the same hour|].",
    "Should {effect} [be troublesome|become a burden|not settle], [halve the dose of|change from|pause] {drug}.",
]

QUESTIONS: dict[str, tuple[list[str], list[str], int, int]] = {
    "what": (
        [
            "What is {condition}?",
            "My {partner} has been told it is {condition}. What does that mean?",
            "Could you explain {condition} in plain words?",
        ],
        [
            "{condition} is a [condition|problem] [that doctors in {specialty} look after|treated mostly by "
            "{specialty}].",
            "People [with it|who have it] often [notice|complain of] {symptom} or {symptom}.",
            "[It is more common|The chance is higher] in people with {risk}.",
            "[Left alone|Without treatment], it can lead to {complication}, [which is why|so] [early care "
            "matters|regular visits pay off].",
            "[It is nobody's fault|It is not contagious|Many people live well with it], and [most|many] "
            "[find|discover] that {advice} helps.",
        ],
        3,
        5,
    ),
    "test": (
        [
            "How is {condition} [found|diagnosed]?",
            "Which test tells whether I have {condition}?",
            "The doctor wants a {test}. Why is that?",
        ],
        [
            "[The usual test is|Doctors mostly rely on] {test}.",
            "[In someone with|When a person has] {condition} it [may|might] show {result}.",
            "[Before that|First], the doctor will [look for|check for] {sign}.",
            "[You do not need|There is no need] to [fast|prepare|stop your tablets] [unless|except if] the clinic "
            "[says so|asks you to].",
            "[Results|Answers] [usually come|are ready] [within {number} days|by the next {day}].",
        ],
        3,
        4,
    ),
    "drug": (
        [
            "Why was I given {drug}?",
            "What kind of medicine is {drug}?",
            "I am about to start {drug}. What should I know?",
        ],
        [
            "{drug} [belongs to|is one of] the [group|family] called {family} and is [used|taken] for {condition}.",
            "[The usual dose is {low} to|Most people take between {low} and] {high} {unit}.",
            "[Some people|A few people] [get|notice] {effect} or {effect}; [tell us|call the clinic] if [this|it] "
            "[bothers you|does not pass].",
            "Your doctor will [keep an eye on|check] {monitor} [from time to time|every {number} months].",
            "[Do not stop|Never stop] it [on your own|without asking], even if you [feel well|have no complaints].",
            "[Mention|Tell the pharmacist about] other medicines such as {other_drug}, [which|as it] may [need a "
            "different dose|not mix well].",
        ],
        3,
        5,
    ),
    "daily": (
        [
            "What can I do myself about {condition}?",
            "Can I go on with {hobby} if I have {condition}?",
            "Is there anything besides tablets that helps?",
        ],
        [
            "[A great deal|Quite a lot]: {advice} is a [good|sensible] [start|first step].",
            "[Many|Plenty of] people also [benefit from|do well with] {advice}.",
            "[Yes, {hobby} is fine|You can go on with {hobby}], [as long as|provided] there is no [more|return of] "
            "{symptom}.",
            "[Write down|Keep a note of] {symptom} and [bring|show] it at your next visit.",
            "[Ask|Invite] your {partner} to [join in|remind you]; [company|a shared plan] [makes it easier|keeps "
            "people going].",
        ],
        3,
        4,
    ),
    "worry": (
        [
            "When should I worry?",
            "I am {age} and have {condition}. What must I not ignore?",
            "Is {condition} dangerous?",
        ],
        [
            "[Call|Ring] [us|the clinic] [the same day|at once] should {symptom} [suddenly get worse|come back|keep "
            "you awake].",
            "[Possible|Serious] complications [are|include] {complication} and {complication}, [but|though] they are "
            "[uncommon|rare] with [good care|treatment].",
            "[A {job} of {age}|One patient, a {job},] [told us|wrote] that [ignoring|putting up with] {symptom} was "
            "[the mistake|what {he} regretted].",
            "[Go to|Visit] the emergency department for [chest pain|a faint|confusion|heavy bleeding|sudden weakness] "
            "and [do not drive|let someone drive you].",
        ],
        2,
        4,
    ),
}
